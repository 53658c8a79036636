"""Findings as rows of text, one for each contrast, and as a table for a terminal."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from gpt.analysis.findings import ContrastFindings, Findings
from gpt.records.formatting import count, decimals, fixed, interval, p_run, signed
from gpt.report.pages.markup import progress_note
from gpt.report.pages.seed_variance import crossed_terminal
from gpt.report.text.proof import control_text

TERMINAL_WIDTH = 100
NOTHING = "no pair yet"
"""in place of a verdict where no seed has finished in both variants"""
CONTRAST_HEADER = (
    "comparison", "difference", "95 % interval", "corrected p", "d_z", "pair correlation", "P(better)", "seeds",
    "diverged", "detectable", "verdict",
)  # fmt: skip
SHORT_VERDICT = {"different but smaller than matters": "different, small"}


@dataclass(frozen=True)
class Row:
    """A contrast as tables show it."""

    comparison: str
    difference: str
    interval: str
    p: str
    d_z: str
    correlation: str
    better: str
    seeds: str
    diverged: str
    detectable: str
    verdict: str
    note: str
    """what the numbers leave unsaid; empty for a contrast without diverged or missing runs"""


def row(contrast: ContrastFindings) -> Row:
    """Numbers of one contrast, b minus a."""
    paired = contrast.paired
    places = decimals(contrast.smallest_effect)
    setting = f", {contrast.setting}" if contrast.setting else ""
    notes = []
    if contrast.among_survivors:
        alone = f"the difference speaks of the {count(paired.n, 'surviving pair')} alone"
        notes.append(
            f"{contrast.b} vs {contrast.a}{setting}: a run diverged; p is the sign test's with divergence as the worst "
            f"outcome, {alone if paired.n else 'no pair survived to take a difference of'}."
        )
    if len(contrast.seeds) < contrast.planned:
        pairs = count(contrast.planned, "pair")
        notes.append(f"{contrast.b} vs {contrast.a}{setting}: incomplete, {len(contrast.seeds)} of {pairs}.")
    return Row(
        comparison=f"{contrast.b} vs {contrast.a}{setting}",
        difference=signed(paired.mean_difference, places),
        interval=interval(paired.low, paired.high, places),
        p=p_run(contrast.p_adjusted),
        d_z=signed(paired.d_z, 2),
        correlation=fixed(paired.correlation, 2),
        better=fixed(contrast.rank.probability_b_better, 2),
        seeds=str(len(contrast.seeds)),
        diverged=f"{contrast.divergence.diverged_b} / {contrast.divergence.diverged_a}",
        detectable=fixed(paired.minimum_detectable_difference, places),
        verdict=contrast.verdict if contrast.seeds else NOTHING,
        note=" ".join(notes),
    )


def contrast_entries(shown: Row) -> list[str]:
    """The runs of a page's table of findings, under `CONTRAST_HEADER`."""
    return [
        shown.comparison, shown.difference, shown.interval, shown.p, shown.d_z, shown.correlation, shown.better,
        shown.seeds, shown.diverged, shown.detectable, shown.verdict,
    ]  # fmt: skip


def tests_note(contrasts: Sequence[ContrastFindings]) -> str:
    """Which tests the p values of a table come from, and how they were corrected."""
    exact = all(contrast.paired.sign_flip_exact for contrast in contrasts)
    test = "exact sign-flip test" if exact else "sign-flip test (drawn at random above 20 pairs)"
    family = max((contrast.family for contrast in contrasts), default=0)
    over = "corrected for the contrasts of one study by Holm's method" if family > 1 else "one contrast, so uncorrected"
    return f"p: {test} of the paired differences, {over}; intervals: 95 % t, not corrected."


def terminal(studies: Sequence[Findings]) -> str:
    """The findings of several studies, in at most 100 columns."""
    compared = [findings for findings in studies if findings.contrasts]
    warned = [warning for findings in studies for warning in warnings(findings)]
    lines = [
        *(_contrasts(compared) if compared else []),
        *crossed_terminal(studies, TERMINAL_WIDTH),
        *(line for warning in warned for line in textwrap.wrap(warning, TERMINAL_WIDTH)),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _contrasts(studies: Sequence[Findings]) -> list[str]:
    """A table of all contrasts, and what its numbers are."""
    header = ("comparison", "difference", "95 % interval", "p", "seeds", "diverged", "verdict")
    shown = [[_entries(row(contrast)) for contrast in findings.contrasts] for findings in studies]
    every = [header, *(entries for rows in shown for entries in rows)]
    widths = [max(len(entries[i]) for entries in every) for i in range(len(header))]
    widths[0] = min(widths[0], max(len(header[0]), TERMINAL_WIDTH - 2 - sum(widths[1:]) - 2 * len(widths[1:])))
    lines = _aligned(header, widths)
    for findings, rows in zip(studies, shown, strict=True):
        progress = progress_note(findings)
        study = findings.study
        lines += textwrap.wrap(f"{study.name}{progress}: {study.question}", TERMINAL_WIDTH)
        for entries in rows:
            lines += _aligned(entries, widths)
    contrasts = [contrast for findings in studies for contrast in findings.contrasts]
    units = sorted({findings.study.metric.unit for findings in studies})
    notes = [
        f"difference: first minus second, {' or '.join(units)}; diverged: runs of first / second.",
        tests_note(contrasts),
        *(row(contrast).note for contrast in contrasts),
    ]
    return [*lines, *(line for note in notes for line in textwrap.wrap(note, TERMINAL_WIDTH))]


def _entries(shown: Row) -> tuple[str, ...]:
    verdict = SHORT_VERDICT.get(shown.verdict, shown.verdict)
    return (
        shown.comparison, shown.difference, shown.interval, shown.p, shown.seeds, shown.diverged, verdict
    )  # fmt: skip


def _aligned(entries: Sequence[str], widths: Sequence[int]) -> list[str]:
    """One line, or two where the first run is too long for its column."""
    first, *middle, last = entries
    numbers = "  ".join(run.rjust(width) for run, width in zip(middle, widths[1:-1], strict=True))
    before = [] if len(first) <= widths[0] else textwrap.wrap(first, TERMINAL_WIDTH - 2)
    start = "" if before else first
    return [*(f"  {line}" for line in before), f"  {start.ljust(widths[0])}  {numbers}  {last}"]


def warnings(findings: Findings) -> list[str]:
    """What a reader must know before any number of this study is believed."""
    name, found = findings.study.name, []
    if findings.control.holds is False:
        found.append(f"WARNING: {name} is not a controlled comparison. {control_text(findings)}")
    for setting in findings.settings:
        if setting.treatment.holds is False:
            where = f" at {setting.label}" if setting.label else ""
            found.append(f"WARNING: {name}: the records do not show that the factor acted as it should{where}.")
    if findings.stack_differences:
        keys = ", ".join(findings.stack_differences)
        found.append(f"WARNING: {name}: its runs were made by different stacks ({keys} differ).")
    return found
