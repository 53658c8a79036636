"""From runs to pages: one report for each study, one page and one table for all studies of a folder."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gpt.analysis.build import build_findings
from gpt.analysis.collect import Results, collect
from gpt.analysis.contrast_findings import at
from gpt.analysis.findings import FigureFindings, Findings, LeftOutFigure
from gpt.analysis.run_reader import RunReader
from gpt.analysis.verdicts import needed
from gpt.errors import InputError
from gpt.records.files import json_text, utf8, write_atomic, write_json
from gpt.records.manifest import files_below, write_manifest
from gpt.report.answer import answer_of
from gpt.report.draw.png_files import write_files
from gpt.report.figures.catalogue import METRIC, Drawn, draw_all
from gpt.report.figures.spec import Figure
from gpt.report.pages.combined import combined_page
from gpt.report.pages.effects import effects_terminal
from gpt.report.pages.runs_csv import runs_csv
from gpt.report.pages.study import RunLinks, page
from gpt.report.pages.tables import TERMINAL_WIDTH, terminal
from gpt.report.pages.tuning import trials_csv
from gpt.study.folder import StudyFolder

COMBINED = "report.md"
"""the page for all studies of a folder"""

TO_FOLDERS = RunLinks(
    lambda text, fingerprint: f"[{text}](../../../runs/{fingerprint}/)",
    "Each value links to the folder of its run.",
)


@dataclass(frozen=True)
class Built:
    """A study's report."""

    folder: StudyFolder
    results: Results
    findings: Findings
    drawn: list[Drawn]
    samples: dict[str, str]

    def page(self, links: RunLinks) -> str:
        """The report, its values linked to runs in one way or another."""
        return page(self.findings, self.samples, links)

    @property
    def figures(self) -> Path:
        return self.folder.report / "figures"

    @property
    def shown(self) -> dict[str, Figure]:
        """The figures of report.md, by name of the file."""
        files = {figure.file for figure in self.findings.figures}
        return {each.file: each.figure for each in self.drawn if each.figure and each.file in files}

    def with_figures(self, drawn: Sequence[Drawn]) -> "Built":
        """The same with other figures, in the findings too."""
        # variants of a study of seeds are seeds: a panel for each says little, and there may be many
        kept = [each for each in drawn if self.results.study.kind == "contrasts" or each.entry.section == METRIC]
        figures = [
            FigureFindings(each.entry.name, each.file, each.label, each.entry.title, each.figure.caption)
            for each in kept
            if each.figure and not each.error
        ]
        left_out = [LeftOutFigure(e.entry.name, e.label, e.entry.title, e.error) for e in drawn if e.error]
        findings = self.findings.model_copy(update={"figures": figures, "left_out_figures": left_out})
        return replace(self, findings=findings, drawn=list(drawn))

    def write(self) -> None:
        """findings.json, report.html, runs.csv and report.md."""
        from gpt.report.pages.html import html_page

        write_json(self.folder.findings, self.findings.model_dump())
        html = html_page(self.results, self.findings, self.drawn)
        write_atomic(self.folder.page, html)
        write_atomic(self.folder.report / "runs.csv", utf8(runs_csv(self.findings)))
        if self.findings.tuning:
            write_atomic(self.folder.report / "trials.csv", utf8(trials_csv(self.findings)))
        write_atomic(self.folder.report / "report.md", utf8(self.page(TO_FOLDERS)))


def begin_report(folder: StudyFolder, cache: dict[str, RunReader] | None = None) -> Built:
    """Write the findings and pages of a study, finished or not; the figures of report.md are still to be drawn.

    Args:
        cache: runs that were read for another study of the same folder, see `collect`.

    Raises:
        InputError: a record is corrupt, or the folder cannot be written to.
    """
    results = needed(collect(folder, cache))
    findings = build_findings(results)
    built = Built(folder, results, findings, [], samples(results)).with_figures(draw_all(results, findings))
    built.write()
    return built


def finish_reports(many: Sequence[Built]) -> list[Built]:
    """Draw the figures; what could not be drawn is said in its report, and nothing else is missing from it."""
    failed, done = write_files({built.figures: built.shown for built in many}), []
    for built in many:
        errors = {each.file: failed[path] for each in built.drawn if (path := built.figures / each.file) in failed}
        if errors:
            built = built.with_figures([replace(d, error=errors.get(d.file, d.error)) for d in built.drawn])
            built.write()
        for each in built.findings.left_out_figures:
            print(
                f"gpt: figure {each.name}{at(each.setting)} of {built.folder.name} left out: {each.error}",
                file=sys.stderr,
            )
        write_manifest(built.folder.report, files_below(built.folder.report))
        done.append(built)
    return done


def build_report(folder: StudyFolder) -> Built:
    """Everything of a study's report; see `begin_report`."""
    return finish_reports([begin_report(folder)])[0]


def samples(results: Results) -> dict[str, str]:
    """What the first seed's models wrote, by variant and setting."""
    texts = {}
    for setting in results.settings:
        for group in setting.groups:
            if text := group.runs[0].sample:
                texts[f"{group.label}, {setting.label}" if setting.label else group.label] = text
    return texts


def print_findings(out: Path, folders: Sequence[StudyFolder], as_json: bool = False) -> None:
    """Build the report of each study and a page for all of them, and print all findings."""
    cache: dict[str, RunReader] = {}
    many = [begin_report(folder, cache) for folder in folders]
    _print(out, folders, [built.findings for built in many], as_json)
    studies = [built.findings for built in finish_reports(many)]
    text = combined_page(
        studies, lambda name: f"studies/{name}/report/report.md", lambda name: f"studies/{name}/report"
    )
    write_atomic(out / COMBINED, utf8(text))


def print_again(out: Path, folders: Sequence[StudyFolder], as_json: bool) -> None:
    """Print the findings of reports that are there; those of an older version are built anew."""
    try:
        studies = [Findings.read(folder.findings) for folder in folders]
    except InputError:
        print_findings(out, folders, as_json)
    else:
        _print(out, folders, studies, as_json)


def _print(out: Path, folders: Sequence[StudyFolder], studies: Sequence[Findings], as_json: bool) -> None:
    """One table of all findings and where to read more, or both as JSON."""
    if as_json:
        print(json_text([answer_of(*each) for each in zip(folders, studies, strict=True)]), flush=True)
        return
    print("\n".join([terminal(studies), *effects_terminal(studies, TERMINAL_WIDTH)]))
    print(f"\nreport: {out / COMBINED}")
    print("\n".join(f"page:   {folder.page}" for folder in folders), flush=True)
