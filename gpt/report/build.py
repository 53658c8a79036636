"""From runs to pages: one report for each study, one page and one table for all studies of a folder."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt.analysis.build import build_findings
from gpt.analysis.collect import Results, RunReader, collect
from gpt.analysis.findings import FigureFindings, Findings
from gpt.records.files import make_folder, utf8, write_atomic, write_json
from gpt.records.manifest import files_below, write_manifest
from gpt.report.pages.combined import combined_page
from gpt.report.pages.study import RunLinks, page
from gpt.report.pages.tables import terminal
from gpt.study.folder import StudyFolder

INTERACTIVE = "report.html"
INTERRUPTED = "interrupted"
"""a run whose status says that it runs while nobody works on it"""
STATES = ("done", "diverged", "running", INTERRUPTED, "preempted", "failed", "planned")


TO_FOLDERS = RunLinks(
    lambda text, fingerprint: f"[{text}](../../../runs/{fingerprint}/)",
    "Each value links to the folder of its run.",
)


@dataclass(frozen=True)
class Built:
    """A study's report."""

    results: Results
    findings: Findings
    samples: dict[str, str]

    def page(self, links: RunLinks) -> str:
        """The report, its values linked to runs in one way or another."""
        return page(self.findings, self.samples, links)


def build_report(folder: StudyFolder, known: dict[str, RunReader] | None = None) -> Findings:
    """Write findings.json, report.md, report.html and the figures of a study, finished or not.

    Args:
        known: runs that were read for another study of the same folder, see `collect`.

    Raises:
        InputError: a record is corrupt, or the folder cannot be written to.
    """
    return write_report(folder, known).findings


def write_report(folder: StudyFolder, known: dict[str, RunReader] | None = None) -> Built:
    """`build_report`, with everything that the report was made of."""
    from gpt.report.pages.html import html_page

    results = collect(folder, known)
    findings = build_findings(results)
    figures = write_figures(results, findings, folder.report / "figures")
    findings = findings.model_copy(update={"figures": figures})
    built = Built(results, findings, samples(results))
    write_json(folder.findings, findings.model_dump())
    write_atomic(folder.report / "report.md", utf8(built.page(TO_FOLDERS)))
    write_atomic(folder.report / INTERACTIVE, html_page(results, findings))
    write_manifest(folder.report, files_below(folder.report))
    return built


def write_figures(results: Results, findings: Findings, folder: Path) -> list[FigureFindings]:
    """Draw all figures of a study into a folder, and take away those of an earlier report that are no more."""
    from gpt.report.figures.catalogue import draw_all

    drawn = draw_all(results, findings)
    make_folder(folder)
    for figure in drawn:
        write_atomic(folder / figure.file, figure.png)
    for old in {path.name for path in folder.glob("*.png")} - {figure.file for figure in drawn}:
        (folder / old).unlink(missing_ok=True)  # another command may report at the same time
    return [FigureFindings(figure.name, figure.file, figure.setting, figure.title, figure.caption) for figure in drawn]


def samples(results: Results) -> dict[str, str]:
    """What the first seed's models wrote, by variant and setting."""
    found = {}
    for setting in results.settings:
        for group in setting.groups:
            if text := group.runs[0].sample:
                found[f"{group.label}, {setting.label}" if setting.label else group.label] = text
    return found


def print_findings(out: Path, folders: Sequence[StudyFolder]) -> None:
    """Build the report of each study and a page for all of them, and print one table of all findings."""
    known: dict[str, RunReader] = {}
    studies = [build_report(folder, known) for folder in folders]
    path = out / "report.md"
    text = combined_page(
        studies, lambda name: f"studies/{name}/report/report.md", lambda name: f"studies/{name}/report"
    )
    write_atomic(path, utf8(text))
    print(terminal(studies))
    print(f"\nreport: {path}")


def status_lines(folder: StudyFolder) -> list[str]:
    """How far each variant of a study is, and why runs failed."""
    results = collect(folder)
    study = results.study
    counts: dict[str, Counter[str]] = {group.label: Counter() for group in results.settings[0].groups}
    why = []
    for setting, group, seed, run in results.places():
        killed = run.status.state == "running" and not run.folder.in_use
        counts[group.label][INTERRUPTED if killed else run.status.state] += 1
        if run.status.state == "failed":
            where = ", ".join(filter(None, [group.label, setting.label, f"seed {seed}"]))
            why.append(f"  failed: {where}: {run.status.why}")
    finished = sum(c["done"] + c["diverged"] for c in counts.values())
    shown = [state for state in STATES if any(c[state] for c in counts.values()) or state in STATES[:2]]
    width = max(len(label) for label in counts)
    lines = [f"{study.name}: {finished} of {sum(c.total() for c in counts.values())} runs finished"]
    for label, count in counts.items():
        lines.append(f"  {label.ljust(width)}  " + "  ".join(f"{count[state]:>4} {state}" for state in shown))
    return [*lines, *why]
