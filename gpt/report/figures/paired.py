"""The figure that answers: the primary metric of every seed, and the differences between variants."""

import math
from typing import Any

import numpy as np

from gpt.analysis.contrast_findings import ContrastFindings
from gpt.analysis.findings import SettingFindings
from gpt.analysis.variant_findings import VariantFindings
from gpt.records.formatting import fixed, signed
from gpt.report.figures.catalogue import METRIC, Entry, View
from gpt.report.figures.series import linear_axis, named_axis, scattered
from gpt.report.figures.spec import Axis, Bars, Figure, Level, Line, Mark, Note, Panel, Points, Zone, variant
from gpt.report.text.sentences import size

BETTER = "\N{LEFTWARDS ARROW} better", "better \N{RIGHTWARDS ARROW}"
WORSE = "\N{LEFTWARDS ARROW} worse", "worse \N{RIGHTWARDS ARROW}"


@Entry("paired", "The primary metric, seed by seed", METRIC, 30, "No run has finished yet.", kinds=("contrasts",))
def paired(view: View) -> Figure | None:
    """Left: a line for each seed from variant to variant. Right: differences with interval and smallest effect."""
    contrasts = view.setting_findings.contrasts
    if not any(each.finished for each in view.setting_findings.variants):
        return None
    right = (
        f" Right: the difference from {view.findings.compared_with}, small marks for single seeds, the large mark and "
        f"bar for the mean and its 95 % t interval; {view.too_small}. "
        f"n = {', '.join(str(len(c.seeds)) for c in contrasts)} pairs."
    )
    crosses = scored(view.setting_findings)
    return Figure(
        caption=f"Left: each grey line joins the runs of one seed; short bars are means.{crosses}"
        + (right if contrasts else ""),
        panels=[_slopes(view), *([_differences(view)] if contrasts else [])],
        height=3.0 + 0.6 * max(0, len(contrasts) - 1),
    )


def scored(setting: SettingFindings) -> str:
    """A sentence on crosses, where a failed run has a score."""
    any_scored = any(f and math.isfinite(s) for v in setting.variants for f, s in zip(v.failed, v.scores, strict=True))
    return " A cross is a failed run, at the unigram baseline, which it counts as." if any_scored else ""


def seed_points(view: View, index: int, findings: VariantFindings, at: float, room: float, **look: Any) -> list[Points]:
    """The metric of one variant's runs that have one; a failed run is a cross at its score.

    Args:
        at: where they are on the x axis, over so much room.
    """
    scores_S, failed_S = np.array(findings.scores, dtype=np.float64), np.array(findings.failed)
    x_S, marks = scattered(at, len(scores_S), room), []
    for failed, shown in ((False, look), (True, {**look, "size": 7, "opacity": 1.0, "cross": True})):
        there = np.flatnonzero(np.isfinite(scores_S) & (failed_S == failed))
        words = [f"{view.labels[index]}, seed {view.study.seeds[s]}{f', {findings.outcomes[s]}' if failed else ''}: "
                 f"{fixed(scores_S[s], view.study.places)}" for s in there]  # fmt: skip
        if len(there) or not failed:
            marks.append(Points(x=x_S[there], y=scores_S[there], color=variant(index), words=words, **shown))
    return marks


def _slopes(view: View) -> Panel:
    variants = view.setting_findings.variants
    values_VS = np.array([findings.scores for findings in variants], dtype=np.float64)
    across = range(len(variants))
    marks: list[Mark] = [Line(x=across, y=values_V, width=0.9, opacity=0.55) for values_V in values_VS.T]
    for i, findings in enumerate(variants):
        marks += seed_points(view, i, findings, i, 0, size=5.5)
        if findings.mean.n:
            left = i == 0 and len(variants) == 2
            side = -1 if left else 1
            words = fixed(findings.mean.mean, view.study.places)
            marks.append(Line(x=[i, i + 0.2 * side], y=[findings.mean.mean] * 2, color=variant(i), width=2.5))
            marks.append(Note(text=words, x=i + 0.24 * side, y=findings.mean.mean, color=variant(i),
                              align="right" if left else "left"))  # fmt: skip
        if lost := sum(findings.failed):
            words = f"{lost} of {findings.finished} failed"
            marks.append(Note(text=words, x=i, y=1, y_share=True, valign="top", color=variant(i), bold=True))
    return Panel(
        title="every seed, and the means",
        x=named_axis(view.labels, room=0.65),
        y=linear_axis(view.metric_label, [values_VS], room=0.14),
        marks=marks,
        closest=True,
    )


def _differences(view: View) -> Panel:
    effect, contrasts = view.study.smallest_effect, view.setting_findings.contrasts
    marks: list[Mark] = [Zone(low=-effect, high=effect, upright=True), Level(at=0, upright=True, dash="solid")]
    for row, contrast in enumerate(contrasts):
        marks += difference_marks(view, contrast, row, row + 0.22, 0.14, across=True)
        words = f"{contrast.b}: {contrast.verdict}\n{_size(contrast)}"
        color = variant(view.labels.index(contrast.b))
        marks.append(Note(text=words, x=0.5, x_share=True, y=row, valign="bottom", raised=8, color=color))
    if (lower := view.study.metric.lower_is_better) is not None:
        (left, _), (_, right) = (BETTER, WORSE) if lower else (WORSE, BETTER)
        marks.append(Note(text=left, x=0, y=1, x_share=True, y_share=True, align="left", valign="bottom"))
        marks.append(Note(text=right, x=1, y=1, x_share=True, y_share=True, align="right", valign="bottom"))
    ends = [[*c.paired.differences, c.paired.low, c.paired.high] for c in contrasts]
    title = f"difference from {view.findings.compared_with}".replace("`", "")
    return Panel(
        title=title,
        x=linear_axis(f"{title}, {view.study.metric.unit}", [*ends, [-effect, effect]], room=0.1),
        y=Axis(limits=(len(contrasts) - 0.5, -0.75), ticks=named_axis([c.b for c in contrasts]).ticks, named=True),
        marks=marks,
        closest=True,
    )


def difference_marks(
    view: View, contrast: ContrastFindings, at: float, beside: float, room: float, across: bool = False
) -> list[Mark]:
    """The seeds' differences, and their mean with its interval.

    Args:
        at: where the mean is on the other axis; the seeds are beside it, over so much room.
        across: along the x axis.
    """
    pairs, color = contrast.paired, variant(view.labels.index(contrast.b))
    each = np.array(pairs.differences, dtype=np.float64)
    there = np.flatnonzero(np.isfinite(each))
    of = [f"{contrast.b}, seed {contrast.seeds[i]}: {signed(each[i], view.study.places)}" for i in there]
    x, y = each[there], scattered(beside, len(there), room)
    x, y = (x, y) if across else (y, x)
    marks: list[Mark] = [Points(x=x, y=y, color=color, words=of, size=4, opacity=0.55)]
    if math.isfinite(pairs.low):
        marks.append(Bars(at=[at], low=[pairs.low], high=[pairs.high], color=color, width=3, across=across))
    if pairs.n:
        place = [[pairs.mean_difference], [at]] if across else [[at], [pairs.mean_difference]]
        words = f"{contrast.b}, mean: {_size(contrast)}"
        marks.append(
            Points(x=place[0], y=place[1], color=color, words=[words], size=8, filled=not contrast.among_survivors)
        )
    return marks


def _size(contrast: ContrastFindings) -> str:
    if not contrast.paired.n:
        return "no seed survived in both" if contrast.among_survivors else "no seed has finished in both"
    return f"{size(contrast)}, survivors only" if contrast.among_survivors else size(contrast)
