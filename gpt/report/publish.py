"""Evidence small enough to keep beside the code: published studies, and the page of their findings."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpt.analysis.collect import Group, SettingResults
from gpt.analysis.findings import Findings
from gpt.analysis.run_reader import RunReader
from gpt.analysis.trials import selection_loss
from gpt.errors import InputError
from gpt.read_file import read_bytes
from gpt.records.files import make_folder, utf8, write_atomic, write_json
from gpt.records.manifest import files_below, write_manifest
from gpt.report.build import Built, build_report
from gpt.report.pages.combined import findings_table, main_figures, verdict_lines
from gpt.report.pages.markup import held, plain
from gpt.report.pages.provenance import STUDY, rerun_files
from gpt.report.pages.runs_csv import runs_csv
from gpt.report.pages.study import RunLinks
from gpt.report.pages.summary_table import explained, summary_table
from gpt.report.pages.tuning import trials_csv
from gpt.report.text.literature import papers_table
from gpt.report.text.observations import observations
from gpt.report.text.takeaways import best_setting, takeaway
from gpt.study.folder import StudyFolder, changes
from gpt.study.study_file import load_study

ANSWERS = ("sensitivity", "paired")
"""figures that show the metric: the first, or the second where there is none"""
TELLING = {
    "model.norm_placement": ("gradient-distribution", "activations"),
    "model.position": ("long-range", "attention-over-training"),
    "optim.clip": ("clipping", "survival"),
    "optim.warmup_steps": ("loss", "gradients"),
}
"""By factor, the figures that say most about how it acts."""
OTHERWISE = ("loss",)
TO_SUMMARY = RunLinks(
    lambda text, _: text,
    "[runs.json](runs.json) has every run's fingerprint, state, numbers and the SHA-256 of its last weights.",
)


def check_place(folder: StudyFolder, results: Path) -> None:
    """That a study's place in the results is free, or held by the same study with no seed that this one lacks.

    Raises:
        InputError: something else is there; says what differs.
    """
    place = results / folder.name
    if not place.exists() or not any(place.iterdir()):
        return
    if not (place / STUDY).exists():
        raise InputError(f"{place}: holds something else than a study; give the study another name")
    for field, old, new in changes(load_study(place / STUDY), folder.read()):
        if field != "seeds" or not set(old) <= set(new):
            raise InputError(
                f"{place / STUDY}: the published study has {field} = {old!r}, that of {folder.out} {new!r}; "
                f"give one of them another name, or move {place} away"
            )


def publish(folder: StudyFolder, results: Path) -> None:
    """Write a study's report into results/<name>/, whole in itself: findings, pages, figures, files to run it again,
    and a summary of every run in place of the runs.

    Raises:
        InputError: a record is corrupt, or the folder cannot be written to.
    """
    built = build_report(folder)
    target = results / folder.name
    figures = target / "figures"
    make_folder(figures)
    for shown in built.findings.figures:
        write_atomic(figures / shown.file, read_bytes(folder.report / "figures" / shown.file))
    for old in {path.name for path in figures.glob("*.png")} - {shown.file for shown in built.findings.figures}:
        (figures / old).unlink()
    for name, text in rerun_files(built.findings.study).items():
        write_atomic(target / name, utf8(text))
    write_json(target / "runs.json", runs_summary(built))
    write_json(target / "findings.json", built.findings.model_dump())
    write_atomic(target / "runs.csv", utf8(runs_csv(built.findings)))
    if built.findings.tuning:
        write_atomic(target / "trials.csv", utf8(trials_csv(built.findings)))
    write_atomic(target / "report.md", utf8(built.page(TO_SUMMARY)))
    write_atomic(target / folder.page.name, read_bytes(folder.page))
    write_manifest(target, files_below(target))


def runs_summary(built: Built) -> list[dict[str, Any]]:
    """One entry for each planned run, trials first."""
    trials = built.results.trials.places() if built.results.trials else ()
    chosen_from = [{**_entry(built, *place), "selection_loss": selection_loss(place[-1])} for place in trials]
    return chosen_from + [_entry(built, *place) for place in built.results.places()]


def _entry(built: Built, setting: SettingResults, group: Group, seed: int, run: RunReader) -> dict[str, Any]:
    metric = built.results.metric
    return {
        "variant": group.variant,
        "setting": dict(setting.setting),
        "seed": seed,
        "run": run.fingerprint,
        "state": run.status.state,
        "why": run.ending.why if run.ending else "",
        "values": {str(metric): run.value(metric), **run.secondary} if run.finished else {},
        "final_weights_sha256": run.info.get("final_weights_sha256"),
    }


def published(results: Path) -> Sequence[Findings]:
    """Findings of every published study.

    Raises:
        InputError: nothing was published there.
    """
    files = sorted(results.glob("*/findings.json"))
    if not files:
        raise InputError(f"{results}: holds no published study; `gpt study publish OUT --results {results}` makes one")
    return [Findings.read(file) for file in files]


def render(studies: Sequence[Findings], root: str) -> str:
    """The findings of all published studies in Markdown, from their findings.json alone.

    Args:
        root: how the page that holds the text names the folder of results.
    """
    lines = findings_table(studies, lambda name: f"{root}/{name}/report.md")
    for findings in studies:
        lines += ["", f"### {plain(findings.study.question)}", *held(findings.study), ""]
        lines += [*verdict_lines(findings), *_figures(findings, root)]
        if observed := _observations(findings):
            lines += ["", *observed]
    return "\n".join(lines) + "\n"


def render_takeaways(studies: Sequence[Findings], root: str) -> str:
    """What each study comes to."""
    texts = [(findings.study.name, takeaway(findings)) for findings in studies]
    each = "".join(f"- [{name}]({root}/{name}/report.md): {text}\n" for name, text in texts if text)
    return f"Differences of the primary metric with 95 % intervals; verdicts as in the table of findings.\n\n{each}"


def render_papers(studies: Sequence[Findings], _: str) -> str:
    """The findings beside what papers claim."""
    return "\n".join(papers_table(studies)) + "\n"


SECTIONS: dict[str, Callable[[Sequence[Findings], str], str]] = {
    "findings": render,
    "takeaways": render_takeaways,
    "papers": render_papers,
}
"""What the page may have between `<!-- NAME:begin -->` and `<!-- NAME:end -->`; it must have the findings."""


def _figures(findings: Findings, root: str) -> list[str]:
    """The figure that answers, and those that tell most about the factor, at the setting where the first variant is
    best.

    Each with its caption, for who reads figures alone.
    """
    study, figures = findings.study, findings.figures
    best = best_setting(findings, 0)
    setting = best.label if best else ""
    wanted = main_figures(findings, (*ANSWERS, *TELLING.get(study.factor, OTHERWISE)))
    shown = [f for name in wanted for f in figures if f.name == name and f.setting in ("", setting)]
    if any(f.name == ANSWERS[0] for f in shown):
        shown = [f for f in shown if f.name != ANSWERS[1]]
    lines = []
    for figure in shown:
        title = f"{figure.title}, {figure.setting}" if figure.setting else figure.title
        path = f"{root}/{study.name}/figures/{figure.file}"
        lines += ["", f"![{study.name}: {title}]({path})", "", f"<sub>**{title}.** {figure.caption}</sub>"]
    return lines


def _observations(findings: Findings) -> list[str]:
    """What was described beside the metric; of several settings a table of all, and sentences on one."""
    settings = findings.settings
    best = best_setting(findings, 0)
    if len(settings) == 1 or best is None or findings.study.kind == "components":
        return [f"- {text}" for setting in settings for text in observations(findings.study, setting)]
    where = f"At {best.label}, where `{best.variants[0].label}` does best:"
    observed = (f"- {text}" for text in observations(findings.study, best))
    return [*summary_table(findings), "", f"<sub>{explained(findings)}</sub>", "", where, "", *observed]


def marked(readme: Path) -> tuple[str, list[str]]:
    """A page's text and the names of the sections that it has markers for; a page that is not there yet has them all.

    Raises:
        InputError: it cannot be read, or a marker is missing or stands twice.
    """
    text, sections = read_bytes(readme).decode("utf-8") if readme.exists() else _empty_page(), []
    for name in SECTIONS:
        begin, end = _markers(name)
        if name != "findings" and begin not in text and end not in text:
            continue
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise InputError(f"{readme}: must hold {begin} and, below it, {end}, each once")
        sections.append(name)
    return text, sections


def _empty_page() -> str:
    return "# Results\n" + "".join("\n{}\n{}\n".format(*_markers(name)) for name in SECTIONS)


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def update(readme: Path, results: Path, check: bool = False) -> None:
    """Replace what is between the markers of each section of a page; those that it does not have are left out.

    Args:
        check: write nothing, and complain if the text between the markers is another.

    Raises:
        InputError: a marker is missing or stands twice, nothing is published, or with `check` the text is stale.
    """
    text, sections = marked(readme)
    new, studies = text, published(results)
    root = Path(os.path.relpath(results, readme.parent)).as_posix()
    for name in sections:
        begin, end = _markers(name)
        before, _, old = new.partition(begin)
        _, _, after = old.partition(end)
        new = f"{before}{begin}\n{SECTIONS[name](studies, root)}{end}{after}"
    if new == text:
        return
    if check:
        raise InputError(f"{readme}: its findings are not those of {results}; run `gpt study publish` and commit both")
    write_atomic(readme, utf8(new))
