"""The figures of a study that tunes: the loss over what was tried, and what a smaller budget would have found."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpt.analysis.tuning_findings import PointFindings, TunedFindings, TuningFindings
from gpt.records.catalogue import NATS
from gpt.records.formatting import fixed, listed, signed
from gpt.report.figures.catalogue import METRIC, Entry, View
from gpt.report.figures.sensitivity import axis_places
from gpt.report.figures.series import linear_axis, scattered
from gpt.report.figures.spec import Axis, Bars, Figure, Level, Line, Mark, Panel, Points, variant
from gpt.study.plan import fields_text, label

LOSS = f"lowest validation loss,\n{NATS}"
ABSENT = ""
"""nothing is said of a study that tunes nothing"""


@Entry("tuning", "The loss over the values that were tried", METRIC, 12, ABSENT, True, ("contrasts",))
def tuned_values(view: View) -> Figure | None:
    """Left: every trial with means; right: differences from the first variant at the same values."""
    tuning = view.findings.tuning
    if tuning is None or not tuning.finished:
        return None
    chosen = [
        f"`{arm.variant}` at {', '.join(filter(None, (fields_text(arm.chosen), arm.setting)))}"
        for arm in tuning.arms
        if arm.chosen
    ]
    best = f"Chosen: {listed(chosen)}. " if chosen else "No best is chosen yet. "
    return Figure(
        caption=f"{best}Left: small marks are single trials, lines join the means over their seeds, bars are 95 % t "
        "intervals, large marks are what was chosen; a trial that failed to train counts with the unigram loss. Right: "
        f"the paired difference from `{view.labels[0]}` at the same values, with its 95 % t interval, on the seeds of "
        "the trials and not corrected: exploratory.",
        panels=[
            panel
            for setting in view.findings.settings
            for others in _others(tuning)
            for panel in _panels(view, tuning, setting.label, others)
        ],
        columns=2,
        height=3.0,
    )


@Entry("tuning-budget", "What a smaller budget would have found", METRIC, 13, ABSENT, True, ("contrasts",))
def budget(view: View) -> Figure | None:
    """Expected lowest loss over the number of points tried: a panel for each setting, a line for each variant."""
    tuning = view.findings.tuning
    if tuning is None or not any(math.isfinite(loss) for arm in tuning.arms for loss in arm.best_of):
        return None
    panels = []
    for setting in view.findings.settings:
        arms = [arm for arm in tuning.arms if arm.setting == setting.label]
        points = np.arange(1, len(arms[0].best_of) + 1)
        marks: list[Mark] = [
            Line(x=points, y=arm.best_of, color=variant(i), label=arm.variant, markers=True)
            for i, arm in enumerate(arms)
        ]
        x = Axis(label="points of the grid that are tried", limits=(0.5, len(points) + 0.5),
                 ticks=[(float(point), str(point)) for point in points])  # fmt: skip
        panels.append(Panel(title=setting.label, x=x, y=linear_axis(LOSS, [arm.best_of for arm in arms]), marks=marks))
    return Figure(
        caption="Mean of the lowest loss among so many points that are drawn at random from the grid, each a mean over "
        "the seeds of the trials. A variant whose line falls late needs more tuning to show its best; where lines "
        "cross, the budget decides which variant looks better.",
        panels=panels,
        height=2.6,
    )


def _others(tuning: TuningFindings) -> list[dict[str, Any]]:
    """Every combination of the tuned fields but the first, which is the axis."""
    _, *fields = tuning.grid
    return [
        dict(zip(fields, values, strict=True))
        for values in itertools.product(*(tuning.grid[field] for field in fields))
    ]


def _panels(view: View, tuning: TuningFindings, setting: str, others: dict[str, Any]) -> list[Panel]:
    field, *_ = tuning.grid
    values = tuning.grid[field]
    places = axis_places(values)
    step = float(min(np.diff(places), default=1.0))
    arms = [arm for arm in tuning.arms if arm.setting == setting]
    rows = [[point for point in arm.points if others.items() <= point.values.items()] for arm in arms]
    ticks = [(place, label(value)) for place, value in zip(places, values, strict=True)]
    x = Axis(label=field, limits=(min(places) - 0.6 * step, max(places) + 0.6 * step), ticks=ticks, named=True)
    words = ", ".join(filter(None, ("every trial, and the means", setting, fields_text(others))))
    beside = [np.array(places) + 0.22 * step * (i - (len(arms) - 1) / 2) for i in range(len(arms))]
    losses: list[Mark] = []
    differences: list[Mark] = [Level(at=0, dash="solid")]
    for i, (arm, points) in enumerate(zip(arms, rows, strict=True)):
        losses += _losses(view, i, arm, points, beside[i], 0.1 * step)
        if i:
            differences += _differences(view, i, arm, points, beside[i])
    held = [[*point.losses, point.mean.low, point.mean.high] for points in rows for point in points]
    apart = [[of.mean, of.low, of.high] for points in rows for point in points if (of := point.difference)]
    return [
        Panel(title=words, x=x, y=linear_axis(LOSS, held), marks=losses, closest=True),
        Panel(title=f"difference from {view.labels[0]}: above 0 is worse", x=x, y=linear_axis(NATS, [*apart, [0.0]]),
              marks=differences, closest=True),
    ]  # fmt: skip


def _losses(
    view: View, index: int, arm: TunedFindings, points: Sequence[PointFindings], at: np.ndarray, room: float
) -> list[Mark]:
    color, seeds = variant(index), view.study.tune.seeds if view.study.tune else []
    means = [point.mean for point in points]
    marks: list[Mark] = []
    for place, point in zip(at, points, strict=True):
        there = [i for i, loss in enumerate(point.losses) if math.isfinite(loss)]
        words = [f"{arm.variant}, seed {seeds[i]}: {fixed(point.losses[i], view.study.places)}" for i in there]
        marks.append(Points(x=scattered(place, len(there), room), y=[point.losses[i] for i in there], color=color,
                            words=words, size=3.5, opacity=0.45))  # fmt: skip
    marks.append(
        Bars(at=at, low=[m.low for m in means], high=[m.high for m in means], color=color, width=4, opacity=0.5)
    )
    marks.append(Line(x=at, y=[m.mean for m in means], color=color, label=arm.variant, markers=True))
    for place, point in zip(at, points, strict=True):
        if arm.chosen and point.values == arm.chosen:
            words = [f"{arm.variant}: chosen, {fixed(point.mean.mean, view.study.places)}"]
            marks.append(Points(x=[place], y=[point.mean.mean], color=color, words=words, size=10))
    return marks


def _differences(
    view: View, index: int, arm: TunedFindings, points: Sequence[PointFindings], at: np.ndarray
) -> list[Mark]:
    of = [point.difference for point in points if point.difference]
    words = [f"{arm.variant}: {signed(each.mean, view.study.places)}" for each in of]
    color = variant(index)
    return [
        Bars(at=at, low=[each.low for each in of], high=[each.high for each in of], color=color, width=3),
        Line(x=at, y=[each.mean for each in of], color=color, width=0.9, opacity=0.7),
        Points(x=at, y=[each.mean for each in of], color=color, words=words, size=7),
    ]
