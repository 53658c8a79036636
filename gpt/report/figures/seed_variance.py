"""Figures of a study of seeds, which decomposes the spread between runs: its parts, its runs, and its course."""

from typing import get_args

import numpy as np

from gpt.analysis.spread_findings import Source
from gpt.records.formatting import count, fixed
from gpt.report.figures.catalogue import METRIC, Entry, View
from gpt.report.figures.series import STEPS, linear_axis, named_axis, rounded
from gpt.report.figures.spec import Axis, Bars, Figure, Grid, Level, Line, Mark, Note, Panel, Points, variant
from gpt.report.text.seed_variance import source_names

KIND = ("components",)
SOURCES: tuple[Source, ...] = get_args(Source)
WHOLE = "Not decomposed: a run is missing or failed."


@Entry("components", "Where the spread between runs comes from", METRIC, 10, WHOLE, kinds=KIND)
def components(view: View) -> Figure | None:
    """Left: shares of the variance. Right: standard deviations. Both with 95 % intervals."""
    whole = view.setting_findings.components
    if whole is None or whole.split is None:
        return None
    split, names = whole.split, list(source_names(view.study, view.setting_findings).values())
    parts = [getattr(split, source) for source in SOURCES]
    shares = [[100 * end for end in (p.share, p.share_low, p.share_high)] for p in parts if p.share is not None]
    spreads = [[spread.sd, spread.low, spread.high] for spread in [*(part.spread for part in parts), split.run]]
    sd = f"standard deviation, {view.study.metric.unit}"
    return Figure(
        caption="Left: shares of the variance. Right: standard deviations. Marks are estimates from "
        f"{count(whole.finished, 'run')}, bars 95 % intervals.",
        panels=[
            _intervals("share of the variance between runs, %", names, shares, 0, " %"),
            _intervals(sd, [*names, "one run"], spreads, view.study.places),
        ],
    )


def _intervals(title: str, names: list[str], parts: list[list[float]], places: int, unit: str = "") -> Panel:
    """Estimates and their intervals, one below the other, with their numbers."""
    marks: list[Mark] = []
    for row, (value, low, high) in enumerate(parts):
        words = f"{names[row]}: {fixed(value, places)}{unit} [{fixed(low, places)}, {fixed(high, places)}]"
        color = variant(row)
        marks += [
            Bars(at=[row], low=[low], high=[high], color=color, width=3, across=True),
            Points(x=[value], y=[row], color=color, size=9, words=[words]),
            Note(text=words, x=0.02, x_share=True, y=row, align="left", valign="bottom", raised=7, color=color),
        ]
    limits = (0.0, 104.0) if unit else (0.0, 1.06 * max((high for _, _, high in parts), default=0) or 1.0)
    y = Axis(limits=(3.6, -0.8), ticks=(), named=True)
    return Panel(title=title, x=Axis(limits=limits), y=y, marks=marks, closest=True)


@Entry("crossed", "Every run, by its two seeds", METRIC, 20, "No run has finished yet.", kinds=KIND)
def crossed(view: View) -> Figure | None:
    """Every run's value: rows are initialisation seeds, columns order seeds, margins their means."""
    if not view.findings.runs.finished:
        return None
    variants, seeds = view.setting_findings.variants, view.study.seeds
    done_SO = np.array([[state == "done" for state in each.states] for each in variants]).T
    values_SO = np.where(done_SO, np.array([each.values for each in variants], dtype=np.float64).T, np.nan)
    rows = np.column_stack([values_SO, values_SO.mean(axis=1)])  # NaN where a run is missing: no mean of other company
    whole = np.vstack([rows, rows.mean(axis=0)])
    finite = values_SO[done_SO]
    mean = float(finite.mean()) if len(finite) else 0.0
    far = float(np.abs(finite - mean).max(initial=0)) or 1.0
    words = [[fixed(float(value), view.study.places) for value in row] for row in whole]
    for s, o in zip(*np.nonzero(~done_SO), strict=True):
        words[s][o] = variants[o].states[s]
    y = named_axis([*map(str, seeds), "mean"], "initialisation seed")
    return Figure(
        caption=f"{view.study.metric.title.capitalize()} of {count(view.findings.runs.finished, 'run')}, "
        f"{view.study.metric.unit}; blue is lower and red higher than the mean. Where one seed decides, rows (or "
        "columns) have one colour.",
        panels=[
            Panel(
                x=named_axis([*view.labels, "mean"], "order seed"),
                y=Axis(label=y.label, ticks=y.ticks, limits=(len(seeds) + 0.5, -0.5), named=True),
                marks=[
                    Grid(values=whole, title=view.metric_label, low=mean - far, high=mean + far, words=words,
                         diverging=True),
                    Level(at=len(seeds) - 0.5, dash="solid"),
                    Level(at=len(variants) - 0.5, upright=True, dash="solid"),
                ],
                closest=True,
            )
        ],
        height=1.2 + 0.34 * (len(seeds) + 1),
    )  # fmt: skip


@Entry("during", "The spread during training", METRIC, 30, WHOLE, kinds=KIND)
def during(view: View) -> Figure | None:
    """Standard deviation of the validation loss by source, at every evaluation."""
    whole = view.setting_findings.components
    if whole is None or whole.during_training is None:
        return None
    steps, names = whole.during_training.steps, source_names(view.study, view.setting_findings)
    sds = {source: rounded(getattr(whole.during_training, source)) for source in SOURCES}
    marks: list[Mark] = [
        Line(x=steps, y=sd, color=variant(i), label=names[source], markers=True)
        for i, (source, sd) in enumerate(sds.items())
    ]
    if not steps:
        marks = [Note(text="no evaluation that every run has", x=0.5, y=0.5, x_share=True, y_share=True)]
    y = linear_axis("sd of the validation loss,\nnats per character", sds.values(), start=0)
    return Figure(
        caption="Standard deviation of the validation loss between runs, by source, at every evaluation of "
        f"{count(whole.finished, 'run')}; estimates without intervals, negative ones shown as 0. Before training only "
        "the initial weights differ.",
        panels=[Panel(x=STEPS, y=y, marks=marks)],
        height=3.0,
    )
