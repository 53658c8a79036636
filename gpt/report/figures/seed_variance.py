"""Figures of a study of seeds, which decomposes the spread between runs: its parts, its runs, and its course."""

from typing import get_args

import numpy as np

from gpt.analysis.findings import Source
from gpt.records.formatting import count, fixed
from gpt.report.figures.catalogue import METRIC, View, figure
from gpt.report.figures.series import linear_axis, named_axis, rounded, steps_axis
from gpt.report.figures.spec import Axis, Bars, Figure, Grid, Level, Line, Mark, Note, Panel, Points, variant
from gpt.report.text.seed_variance import source_names

KIND = ("components",)
SOURCES: tuple[Source, ...] = get_args(Source)
WHOLE = "Not decomposed: a run is missing or diverged."


@figure("components", "Where the spread between runs comes from", METRIC, 10, WHOLE, kinds=KIND)
def components(view: View) -> Figure | None:
    """Left: shares of the variance. Right: standard deviations. Both with 95 % intervals."""
    found = view.found.components
    if found is None or found.split is None:
        return None
    split, names = found.split, list(source_names(view.study, view.found).values())
    parts = [getattr(split, source) for source in SOURCES]
    shares = [[100 * end for end in (p.share, p.share_low, p.share_high)] for p in parts if p.share is not None]
    spreads = [[spread.sd, spread.low, spread.high] for spread in [*(part.spread for part in parts), split.run]]
    unit = view.study.metric.unit
    return Figure(
        caption="Left: shares of the variance. Right: standard deviations. Marks are estimates from "
        f"{count(found.finished, 'run')}, bars 95 % intervals.",
        panels=(
            _intervals("share of the variance between runs, %", names, shares, 0, " %"),
            _intervals(f"standard deviation, {unit}", [*names, "one run"], spreads, view.places),
        ),
    )


def _intervals(title: str, names: list[str], parts: list[list[float]], places: int, unit: str = "") -> Panel:
    """Estimates and their intervals, one below the other, with their numbers."""
    marks: list[Mark] = []
    for row, (value, low, high) in enumerate(parts):
        words = f"{names[row]}: {fixed(value, places)}{unit} [{fixed(low, places)}, {fixed(high, places)}]"
        at, color = np.array([row]), variant(row)
        marks += [
            Bars(at=at, low=np.array([low]), high=np.array([high]), color=color, width=3, across=True),
            Points(x=np.array([value]), y=at, color=color, size=9, words=(words,)),
            Note(text=words, x=0.02, x_share=True, y=row, align="left", valign="bottom", raised=7, color=color),
        ]
    limits = (0.0, 104.0) if unit else (0.0, 1.06 * max((high for _, _, high in parts), default=0) or 1.0)
    return Panel(title=title, x=Axis(limits=limits), y=Axis(limits=(3.6, -0.8), ticks=(), named=True),
                 marks=tuple(marks), closest=True)  # fmt: skip


@figure("crossed", "Every run, by its two seeds", METRIC, 20, "No run has finished yet.", kinds=KIND)
def crossed(view: View) -> Figure | None:
    """Every run's value: rows are initialisation seeds, columns order seeds, margins their means."""
    variants = view.found.variants
    states_SO = list(zip(*(found.states for found in variants), strict=True))
    values_OS = [
        [value if state == "done" else np.nan for value, state in zip(found.values, found.states, strict=True)]
        for found in variants
    ]
    values_SO = np.array(values_OS, dtype=np.float64).T
    seeds, orders = values_SO.shape
    finite = values_SO[np.isfinite(values_SO)]
    if not view.findings.runs.finished:
        return None
    whole = np.full((seeds + 1, orders + 1), np.nan)
    whole[:-1, :-1] = values_SO
    whole[:-1, -1] = values_SO.mean(axis=1)  # NaN where a run is missing: no mean of other company
    whole[-1, :-1] = values_SO.mean(axis=0)
    whole[-1, -1] = values_SO.mean()
    mean = float(finite.mean()) if len(finite) else 0.0
    far = (float(np.abs(finite - mean).max()) if len(finite) else 0.0) or 1.0
    words = tuple(
        tuple(
            fixed(float(whole[s, o]), view.places)
            if s == seeds or o == orders or states_SO[s][o] == "done"
            else states_SO[s][o]
            for o in range(orders + 1)
        )
        for s in range(seeds + 1)
    )
    grid = Grid(values=whole, title=view.metric_label, low=mean - far, high=mean + far, words=words, diverging=True)
    rows = named_axis([*map(str, view.study.seeds), "mean"], "initialisation seed")
    return Figure(
        caption=f"{view.study.metric.title.capitalize()} of {count(view.findings.runs.finished, 'run')}, "
        f"{view.study.metric.unit}; blue is lower and red higher than the mean. Where one seed decides, rows (or "
        "columns) have one colour.",
        panels=(
            Panel(
                x=named_axis([*(found.label for found in variants), "mean"], "order seed"),
                y=Axis(label=rows.label, ticks=rows.ticks, limits=(seeds + 0.5, -0.5), named=True),
                marks=(grid, Level(at=seeds - 0.5, dash="solid"), Level(at=orders - 0.5, upright=True, dash="solid")),
                closest=True,
            ),
        ),
        height=1.2 + 0.34 * (seeds + 1),
    )


@figure("during", "The spread during training", METRIC, 30, WHOLE, kinds=KIND)
def during(view: View) -> Figure | None:
    """Standard deviation of the validation loss by source, at every evaluation."""
    found = view.found.components
    if found is None or found.during_training is None:
        return None
    curves, names = found.during_training, source_names(view.study, view.found)
    lines = [
        Line(x=np.array(curves.steps), y=rounded(getattr(curves, source)), color=variant(i), label=names[source],
             markers=True)
        for i, source in enumerate(SOURCES)
    ]  # fmt: skip
    y = linear_axis("sd of the validation loss,\nnats per character", [line.y for line in lines], start=0)
    none = Note(text="no evaluation that every run has", x=0.5, y=0.5, x_share=True, y_share=True)
    marks: list[Mark] = [*lines] or [none]
    return Figure(
        caption="Standard deviation of the validation loss between runs, by source, at every evaluation of "
        f"{count(found.finished, 'run')}; estimates without intervals, negative ones shown as 0. Before training only "
        "the initial weights differ.",
        panels=(Panel(x=steps_axis(), y=y, marks=tuple(marks)),),
        height=3.0,
    )
