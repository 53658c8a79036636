"""Findings as columns of text, one row for each contrast, and as a table for a terminal."""

import math
import textwrap
from collections.abc import Sequence

from gpt.analysis.contrast_findings import ContrastFindings
from gpt.analysis.findings import Findings
from gpt.records.formatting import count, fixed, interval, p_run, signed
from gpt.report.pages.markup import progress_note
from gpt.report.pages.seed_variance import crossed_terminal
from gpt.report.text.effects import effect_sentence, effect_verdict
from gpt.report.text.proof import control_text
from gpt.report.text.seed_variance import decomposed, spread_sentences, spread_verdict
from gpt.report.text.sentences import NO_PAIR, sentence
from gpt.report.text.tuning import compared_at

TERMINAL_WIDTH = 100
COLUMNS = (
    "comparison", "difference", "95 % interval", "corrected p", "d_z", "pair correlation", "P(better)", "seeds",
    "failed", "detectable", "verdict",
)  # fmt: skip
"""of a page's table of findings"""
TERMINAL_COLUMNS = ("comparison", "difference", "95 % interval", "corrected p", "seeds", "failed", "verdict")
SHORT = {"corrected p": "p", "different but smaller than matters": "different, small"}
"""what a terminal has no room for"""


def row(contrast: ContrastFindings) -> dict[str, str]:
    """Numbers of one contrast, b minus a, by `COLUMNS`."""
    paired, places = contrast.paired, contrast.places
    d_z, detectable = (math.nan, math.nan) if contrast.scored else (paired.d_z, paired.minimum_detectable_difference)
    cells = (
        named(contrast), signed(paired.mean_difference, places), interval(paired.low, paired.high, places),
        p_run(contrast.p_adjusted), signed(d_z, 2), fixed(paired.correlation, 2),
        fixed(contrast.rank.probability_b_better, 2), str(len(contrast.seeds)),
        f"{contrast.failures.failed_b} / {contrast.failures.failed_a}",
        fixed(detectable, places), verdict(contrast),
    )  # fmt: skip
    return dict(zip(COLUMNS, cells, strict=True))


def named(contrast: ContrastFindings) -> str:
    return f"{contrast.b} vs {contrast.a}" + (f", {contrast.setting}" if contrast.setting else "")


def verdict(contrast: ContrastFindings) -> str:
    return contrast.verdict if contrast.seeds else NO_PAIR


def verdict_sentences(findings: Findings) -> list[tuple[str, str]]:
    """What the study found: each verdict in a word or two, and in a sentence."""
    study = findings.study
    contrasts = [
        (verdict(each), sentence(each, study.metric) + compared_at(findings, each)) for each in findings.contrasts
    ]
    spreads = [(spread_verdict(spread), " ".join(spread_sentences(study, setting, spread)))
               for setting, spread in decomposed(findings)]  # fmt: skip
    effects = [(effect_verdict(each), effect_sentence(each, study.metric)) for each in findings.effects]
    return contrasts + effects + spreads


def contrast_notes(contrasts: Sequence[ContrastFindings]) -> list[str]:
    """What the numbers of contrasts with failed or missing runs leave unsaid, a line for each."""
    lines = []
    for each in contrasts:
        notes = []
        if each.scored:
            score = f"counts as {fixed(each.failed_score, each.places)}, the unigram baseline"
            notes.append(f"{named(each)}: a run that failed {score}; d_z and detectable are left out.")
        elif each.among_survivors:
            alone = f"the difference speaks of the {count(each.paired.n, 'surviving pair')} alone"
            notes.append(
                f"{named(each)}: a run failed; p is the sign test's with failure as the worst outcome, "
                f"{alone if each.paired.n else 'no pair survived to take a difference of'}."
            )
        if len(each.seeds) < each.planned:
            notes.append(f"{named(each)}: incomplete, {len(each.seeds)} of {count(each.planned, 'pair')}.")
        lines += [" ".join(notes)] if notes else []
    return lines


def text_notes(contrasts: Sequence[ContrastFindings]) -> list[str]:
    """The interval over text of each contrast that has one, beside the table's over seeds."""
    lines = []
    for each in contrasts:
        if each.over_text:
            text, alone = each.over_text, "survivors only, " if each.survivors else ""
            lines.append(
                f"{named(each)}, over text: {interval(text.low, text.high, each.places)} (95 %, {alone}"
                f"{text.windows:,} test windows drawn in blocks of {text.block} neighbours, the seeds as they are)."
            )
    return lines


def p_note(studies: Sequence[Findings]) -> str:
    """Which tests the p values of a table come from, and how they were corrected."""
    contrasts = [contrast for findings in studies for contrast in findings.contrasts]
    exact = all(contrast.paired.sign_flip_exact for contrast in contrasts)
    test = "exact sign-flip test" if exact else "sign-flip test (drawn at random above 20 pairs)"
    family = max((contrast.family for contrast in contrasts), default=0)
    over = ["for the contrasts of one study by Holm's method"] if family > 1 else []
    over += ["for looks"] if any(findings.study.looks for findings in studies) else []
    corrected = f"corrected {' and '.join(over)}" if over else "one contrast, so uncorrected"
    return f"p: {test} of the paired differences, {corrected}; intervals: 95 % t, not corrected."


def terminal(studies: Sequence[Findings]) -> str:
    """The findings of several studies, in at most 100 columns."""
    warned = [warning for findings in studies for warning in warnings(findings)]
    lines = [
        *_contrasts([findings for findings in studies if findings.contrasts]),
        *crossed_terminal(studies, TERMINAL_WIDTH),
        *(line for warning in warned for line in textwrap.wrap(warning, TERMINAL_WIDTH)),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _contrasts(studies: Sequence[Findings]) -> list[str]:
    """A table of all contrasts, and what its numbers are."""
    contrasts = [contrast for findings in studies for contrast in findings.contrasts]
    if not contrasts:
        return []
    rows = [{name: SHORT.get(text, text) for name, text in row(each).items()} for each in contrasts]
    header = {name: SHORT.get(name, name) for name in TERMINAL_COLUMNS}
    widths = {name: max(len(each[name]) for each in (header, *rows)) for name in TERMINAL_COLUMNS}
    first, *others = TERMINAL_COLUMNS
    room = TERMINAL_WIDTH - 2 - sum(widths[name] + 2 for name in others)
    widths[first] = min(widths[first], max(len(first), room))
    lines, left = _aligned(header, widths), iter(rows)
    for findings in studies:
        lines += textwrap.wrap(f"{findings.study.name}{progress_note(findings)}: {findings.study.question}",
                               TERMINAL_WIDTH)  # fmt: skip
        lines += [line for _ in findings.contrasts for line in _aligned(next(left), widths)]
    notes = [
        f"difference: first minus second, {units(studies)}; failed: runs of first / second.",
        p_note(studies),
        *contrast_notes(contrasts),
        *text_notes(contrasts),
    ]
    return [*lines, *(line for note in notes for line in textwrap.wrap(note, TERMINAL_WIDTH))]


def units(studies: Sequence[Findings]) -> str:
    """Of the metrics that contrasts are in."""
    return " or ".join(sorted({findings.study.metric.unit for findings in studies if findings.contrasts}))


def _aligned(cells: dict[str, str], widths: dict[str, int]) -> list[str]:
    """One line, or more where the comparison is too long for its column."""
    first, *middle, last = TERMINAL_COLUMNS
    numbers = "  ".join(cells[name].rjust(widths[name]) for name in middle)
    before = [] if len(cells[first]) <= widths[first] else textwrap.wrap(cells[first], TERMINAL_WIDTH - 2)
    start = "" if before else cells[first]
    return [*(f"  {line}" for line in before), f"  {start.ljust(widths[first])}  {numbers}  {cells[last]}"]


def warnings(findings: Findings) -> list[str]:
    """What a reader must know before any number of this study is believed."""
    name, lines = findings.study.name, []
    if findings.control.holds is False:
        lines.append(f"WARNING: {name} is not a controlled comparison. {control_text(findings)}")
    lines += [
        f"WARNING: {name}: the records do not show that the factor acted as it should{setting.at}."
        for setting in findings.settings
        if setting.treatment.holds is False
    ]
    if findings.tuning and findings.tuning.as_planned is False:
        lines.append(
            f"WARNING: {name}: its trials differ between variants in more than the factor, or have wrong values."
        )
    if findings.stack_differences:
        keys = ", ".join(findings.stack_differences)
        lines.append(f"WARNING: {name}: its runs were made by different stacks ({keys} differ).")
    return lines
