"""From runs to pages: one report for each study, one page and one table for all studies of a folder."""

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
