"""From cells to pages: one report for each study, one page and one table for all studies of a folder."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt.analysis.build import build_findings, judged_of
from gpt.analysis.collect import CellRecord, Results, collect
from gpt.records.files import jsonable, make_folder, utf8, write_atomic, write_json
from gpt.records.manifest import files_below, write_manifest
from gpt.report.pages.combined import combined_page
from gpt.report.pages.study import CellLinks, Shown, page
from gpt.report.pages.tables import terminal
from gpt.study.folder import StudyFolder

INTERACTIVE = "report.html"
INTERRUPTED = "interrupted"
"""a cell whose status says that it runs while nobody works on it"""
STATES = ("done", "diverged", "running", INTERRUPTED, "preempted", "failed", "planned")


TO_FOLDERS = CellLinks(
    lambda text, fingerprint: f"[{text}](../../../cells/{fingerprint}/)",
    "Each value links to the folder of its run.",
)


@dataclass(frozen=True)
class Built:
    """A study's report."""

    results: Results
    findings: dict[str, Any]
    """as findings.json has them"""
    shown: list[Shown]
    samples: dict[str, str]

    def page(self, links: CellLinks) -> str:
        """The report, its values linked to cells in one way or another."""
        return page(self.findings, judged_of(self.findings), self.shown, self.samples, links)


def build_report(folder: StudyFolder, known: dict[str, CellRecord] | None = None) -> dict[str, Any]:
    """Write findings.json, report.md, report.html and the figures of a study, finished or not.

    Args:
        known: cells that were read for another study of the same folder, see `collect`.

    Returns:
        The findings, as findings.json has them.

    Raises:
        InputError: a record is damaged, or the folder cannot be written to.
    """
    return write_report(folder, known).findings


def write_report(folder: StudyFolder, known: dict[str, CellRecord] | None = None) -> Built:
    """`build_report`, with everything that the report was made of."""
    from gpt.report.pages.html import html_page

    results = collect(folder, known)
    findings = jsonable(build_findings(results))
    shown = write_figures(results, findings, folder.report / "figures")
    findings["figures"] = jsonable(shown)
    built = Built(results, findings, shown, samples(results))
    write_json(folder.findings, findings)
    write_atomic(folder.report / "report.md", utf8(built.page(TO_FOLDERS)))
    write_atomic(folder.report / INTERACTIVE, html_page(results, findings, judged_of(findings)))
    write_manifest(folder.report, files_below(folder.report))
    return built


def write_figures(results: Results, findings: Mapping[str, Any], folder: Path) -> list[Shown]:
    """Draw all figures of a study into a folder, and take away those of an earlier report that are no more."""
    from gpt.report.figures.catalogue import draw_all

    drawn = draw_all(results, findings)
    make_folder(folder)
    for figure in drawn:
        write_atomic(folder / figure.file, figure.png)
    for old in {path.name for path in folder.glob("*.png")} - {figure.file for figure in drawn}:
        (folder / old).unlink(missing_ok=True)  # another command may report at the same time
    return [Shown(figure.name, figure.file, figure.block, figure.title, figure.caption) for figure in drawn]


def samples(results: Results) -> dict[str, str]:
    """What the first seed's models wrote, by variant and block."""
    found = {}
    for block in results.blocks:
        for group in block.groups:
            if text := group.cells[0].sample:
                found[f"{group.label}, {block.label}" if block.label else group.label] = text
    return found


def print_findings(out: Path, folders: Sequence[StudyFolder]) -> None:
    """Build the report of each study and a page for all of them, and print one table of all findings."""
    known: dict[str, CellRecord] = {}
    many = [build_report(folder, known) for folder in folders]
    studies = [(findings, judged_of(findings)) for findings in many]
    path = out / "report.md"
    text = combined_page(
        studies, lambda name: f"studies/{name}/report/report.md", lambda name: f"studies/{name}/report"
    )
    write_atomic(path, utf8(text))
    print(terminal(studies))
    print(f"\nreport: {path}")


def status_lines(folder: StudyFolder) -> list[str]:
    """How far each variant of a study is, and why cells failed."""
    results = collect(folder)
    study = results.study
    counts: dict[str, Counter[str]] = {group.label: Counter() for group in results.blocks[0].groups}
    why = []
    for block, group, seed, cell in results.places():
        killed = cell.status.state == "running" and not cell.cell.in_use
        counts[group.label][INTERRUPTED if killed else cell.status.state] += 1
        if cell.status.state == "failed":
            where = ", ".join(filter(None, [group.label, block.label, f"seed {seed}"]))
            why.append(f"  failed: {where}: {cell.status.why}")
    finished = sum(c["done"] + c["diverged"] for c in counts.values())
    shown = [state for state in STATES if any(c[state] for c in counts.values()) or state in STATES[:2]]
    width = max(len(label) for label in counts)
    lines = [f"{study.name}: {finished} of {sum(c.total() for c in counts.values())} cells finished"]
    for label, count in counts.items():
        lines.append(f"  {label.ljust(width)}  " + "  ".join(f"{count[state]:>4} {state}" for state in shown))
    return [*lines, *why]
