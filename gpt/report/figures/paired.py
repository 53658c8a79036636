"""The figure that answers: the primary metric of every seed, and the differences between variants."""

import math

import numpy as np

from gpt.analysis.findings import ContrastFindings, VariantFindings
from gpt.records.formatting import fixed, interval, signed
from gpt.report.figures.catalogue import METRIC, View, figure
from gpt.report.figures.series import linear_axis, named_axis, scattered
from gpt.report.figures.spec import NEUTRAL, Axis, Bars, Figure, Level, Line, Mark, Note, Panel, Points, Zone, variant


@figure("paired", "The primary metric, seed by seed", METRIC, 30, "No run has finished yet.", kinds=("contrasts",))
def paired(view: View) -> Figure | None:
    """Left: a line for each seed from variant to variant. Right: differences with interval and smallest effect."""
    if not any(each.finished for each in view.found.variants):
        return None
    contrasts = view.found.contrasts
    pairs = ", ".join(str(len(contrast.seeds)) for contrast in contrasts)
    right = (
        f" Right: the difference from `{view.labels[0]}`, small marks for single seeds, the large mark and bar for the "
        f"mean and its 95 % t interval; in the grey zone differences are too small to matter ({view.effect}). "
        f"n = {pairs} pairs."
    )
    return Figure(
        caption="Left: each grey line joins the runs of one seed; short bars are means." + (right if contrasts else ""),
        panels=(_slopes(view), *([_differences(view)] if contrasts else [])),
        height=3.0 + 0.6 * max(0, len(contrasts) - 1),
    )


def _survived(found: VariantFindings) -> list[float]:
    """By seed; NaN for a run that has no value."""
    return [v if state == "done" else math.nan for v, state in zip(found.values, found.states, strict=True)]


def _slopes(view: View) -> Panel:
    variants, seeds = view.found.variants, view.study.seeds
    values_VS = np.array([_survived(each) for each in variants], dtype=np.float64)
    across = np.arange(len(variants))
    marks: list[Mark] = [Line(x=across, y=values, color=NEUTRAL, width=0.9, opacity=0.55) for values in values_VS.T]
    for i, found in enumerate(variants):
        there = np.flatnonzero(np.isfinite(values_VS[i]))
        words = tuple(f"{found.label}, seed {seeds[s]}: {fixed(values_VS[i, s], view.places)}" for s in there)
        marks.append(Points(x=np.full(len(there), i), y=values_VS[i, there], color=variant(i), words=words, size=5.5))
        if len(there):
            side = -1 if i == 0 and len(variants) == 2 else 1
            mean = found.mean.mean
            marks.append(Line(x=np.array([i, i + 0.2 * side]), y=np.array([mean, mean]), color=variant(i), width=2.5))
            marks.append(Note(text=fixed(mean, view.places), x=i + 0.24 * side, y=mean, color=variant(i),
                              align="right" if side < 0 else "left"))  # fmt: skip
        if lost := sum(found.diverged):
            marks.append(Note(text=f"{lost} of {found.finished} diverged", x=i, y=1, y_share=True, valign="top",
                              color=variant(i), bold=True))  # fmt: skip
    return Panel(
        title="every seed, and the means",
        x=named_axis([each.label for each in variants], room=0.65),
        y=linear_axis(view.metric_label, [values_VS], room=0.14),
        marks=tuple(marks),
        closest=True,
    )


def _differences(view: View) -> Panel:
    effect, contrasts = view.study.smallest_effect, view.found.contrasts
    marks: list[Mark] = [
        Zone(low=-effect, high=effect, upright=True),
        Level(at=0, upright=True, dash="solid"),
    ]
    for row, contrast in enumerate(contrasts):
        marks += _contrast(view, contrast, row)
    if (lower := view.study.metric.lower_is_better) is not None:
        left, right = ("better", "worse") if lower else ("worse", "better")
        for words, x, align in (
            (f"\N{LEFTWARDS ARROW} {left}", 0, "left"),
            (f"{right} \N{RIGHTWARDS ARROW}", 1, "right"),
        ):
            marks.append(Note(text=words, x=x, y=1, x_share=True, y_share=True, align=align, valign="bottom"))  # type: ignore[arg-type]
    ends = [[*c.paired.differences, c.paired.low, c.paired.high] for c in contrasts]
    rows = named_axis([contrast.b for contrast in contrasts])
    return Panel(
        title=f"difference from {contrasts[0].a}",
        x=linear_axis(
            f"difference from {contrasts[0].a}, {view.study.metric.unit}", [*ends, [-effect, effect]], room=0.1
        ),
        y=Axis(limits=(len(contrasts) - 0.5, -0.75), ticks=rows.ticks, named=True),
        marks=tuple(marks),
        closest=True,
    )


def _contrast(view: View, contrast: ContrastFindings, row: int) -> list[Mark]:
    found, color = contrast.paired, variant(view.labels.index(contrast.b))
    each = np.array(found.differences, dtype=np.float64)
    there = np.flatnonzero(np.isfinite(each))
    words = tuple(f"seed {contrast.seeds[i]}: {signed(each[i], view.places)}" for i in there)
    marks: list[Mark] = [
        Points(
            x=each[there], y=scattered(row + 0.22, len(there), 0.14), color=color, words=words, size=4.5, opacity=0.6
        )
    ]
    size = f"{signed(found.mean_difference, view.places)} {interval(found.low, found.high, view.places)}".removesuffix(
        " -"
    )
    if math.isfinite(found.low):
        marks.append(Bars(at=np.array([row]), low=np.array([found.low]), high=np.array([found.high]), color=color,
                          width=3, across=True))  # fmt: skip
    if found.n:
        marks.append(Points(x=np.array([found.mean_difference]), y=np.array([row]), color=color, size=9,
                            words=(f"{contrast.b}, mean: {size}",)))  # fmt: skip
        size += ", survivors only" if contrast.among_survivors else ""
    else:
        size = "no seed survived in both" if contrast.among_survivors else "no seed has finished in both"
    marks.append(Note(text=f"{contrast.b}: {contrast.verdict}\n{size}", x=0.5, x_share=True, y=row, valign="bottom",
                      raised=8, color=color))  # fmt: skip
    return marks
