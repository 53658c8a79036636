"""Several studies on one page: a table of all contrasts, then each study's answer and main figure."""

from collections.abc import Callable, Sequence

from gpt.analysis.findings import Findings
from gpt.records.formatting import count
from gpt.report.pages.markup import plain, progress_note, table
from gpt.report.pages.seed_variance import crossed_table
from gpt.report.pages.tables import COLUMNS, contrast_notes, p_note, row, units, verdict_sentences, warnings
from gpt.report.text.seed_variance import decomposed

SHOWN = [name for name in COLUMNS if name not in ("P(better)", "detectable")]
Link = Callable[[str], str]
"""name of a study -> relative path"""


def combined_page(studies: Sequence[Findings], report: Link, figures_of: Link) -> str:
    """The page.

    Args:
        report: where a study's own report is.
        figures_of: the folder that holds a study's figures/.
    """
    lines = [f"# {count(len(studies), 'question')}", "", *findings_table(studies, report)]
    for findings in studies:
        lines += ["", *_section(findings, report, figures_of)]
    return "\n".join(lines) + "\n"


def findings_table(studies: Sequence[Findings], report: Link) -> list[str]:
    """One row for each contrast and for each spread taken apart, and what the numbers are."""
    rows, notes = [], []
    for findings in studies:
        name = findings.study.name
        study = f"[{name}]({report(name)}){progress_note(findings)}"
        rows += [[study, *(cells[column] for column in SHOWN)] for cells in map(row, findings.contrasts)]
        notes += [f"- {plain(note)}" for note in contrast_notes(findings.contrasts)]
        notes += [f"- **{plain(warning)}**" for warning in warnings(findings)]
    about = (
        f"Difference: first minus second, {units(studies)}; d_z: mean difference over its standard deviation; "
        f"failed: runs of first / second."
    )
    contrasts = [*table(("study", *SHOWN), rows), "", f"{about} {p_note(studies)}"] if rows else []
    parts = [part for part in (contrasts, crossed_table(studies, report), notes) if part]
    return [line for part in parts for line in ["", *part]][1:]


def _section(findings: Findings, report: Link, figures_of: Link) -> list[str]:
    """Question, answer, and the main figures of the whole study or of its first setting."""
    name, first = findings.study.name, findings.settings[0].label
    lines = [f"## {plain(findings.study.question)}", "", *verdict_lines(findings)]
    for wanted in main_figures(findings, ("sensitivity", "paired", "loss")):
        for figure in findings.figures:
            if figure.name == wanted and figure.setting in ("", first):
                lines += ["", f"![{name}, {wanted}]({figures_of(name)}/figures/{figure.file})"]
    return [*lines, "", f"[The whole report of {name}]({report(name)})"]


def verdict_lines(findings: Findings) -> list[str]:
    """The study's verdicts in sentences; a spread's has its verdict before it."""
    found = verdict_sentences(findings)
    return [f"- {text}" if findings.contrasts else f"- **{verdict}**: {text}" for verdict, text in found]


def main_figures(findings: Findings, of_contrasts: Sequence[str]) -> Sequence[str]:
    """The figures that tell a study's answer at a glance."""
    settings = decomposed(findings)
    if not settings:
        return of_contrasts
    return ("crossed",) if settings[0][1].split is None else ("components", "crossed")
