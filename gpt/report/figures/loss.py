"""The figure of the loss: validation, training, and the paired difference of the former while training goes on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.collect import Group, RunReader, SettingResults
from gpt.records.schema import TRAIN_LOSS, VAL_LOSS
from gpt.report.figures.catalogue import TRAINING, View, figure
from gpt.report.figures.series import (
    TRAIN_WINDOWS,
    banded,
    bands_over,
    drawn_groups,
    linear_axis,
    single,
    stacked,
    steps_axis,
    windows,
)
from gpt.report.figures.spec import Axis, Figure, Floats, Level, Line, Mark, Panel, Points, Zone, variant


@figure("loss", "Loss during training", TRAINING, 10, "Not recorded: no run has finished yet.")
def loss(view: View) -> Figure | None:
    groups = drawn_groups(view.setting)
    if not groups:
        return None
    level = next(run.info["data"]["unigram_loss"] for _, g in groups for run in g.runs if run.finished)
    panels = [
        _curves(view, key, title, level)
        for title, key in (("validation loss", VAL_LOSS), ("training loss", TRAIN_LOSS))
    ]
    matters = view.study.metric.name.startswith("val/loss.")
    right = (
        f" Right: the paired difference of the validation loss from `{view.labels[0]}`; below zero, the variant is "
        f"ahead{f'; in the grey zone differences are too small to matter ({view.effect})' if matters else ''}."
    )
    if differences := loss_differences(view.setting) if view.found.contrasts else []:
        panels.append(_differences(view, differences, view.study.smallest_effect if matters else None))
    lost = any(run.diverged for _, group in groups for run in group.runs)
    return Figure(
        caption="Thin lines are single runs, thick ones means; the dashed level is the unigram baseline."
        + (right if differences else "")
        + f" {bands_over(view.setting)} Training losses are averaged over windows of steps, and the axes cut off the "
        "first steps." + (" Dotted lines that end in a cross are diverged runs." if lost else ""),
        panels=tuple(panels),
    )


def _curves(view: View, key: str, title: str, level: float) -> Panel:
    marks: list[Mark] = []
    for index, group in drawn_groups(view.setting):
        for seed, run in zip(view.study.seeds, group.runs, strict=True):
            if run.finished:
                marks += _run(run, key, index, f"{group.label}, seed {seed} diverged")
        if (over := stacked(group.survivors, key)) is not None:
            steps, values_SN = _smooth(key, *over)
            marks.append(banded(steps, values_SN, variant(index), group.label))
    marks.append(Level(at=level, label="unigram baseline"))
    y = _cut_first_steps("nats per character", [mark.y for mark in marks if isinstance(mark, Line)], level)
    return Panel(title=title, x=steps_axis(), y=y, marks=tuple(marks))


def _smooth(key: str, steps: NDArray[np.int64], values_SN: Floats) -> tuple[NDArray[np.int64], Floats]:
    if key != TRAIN_LOSS:
        return steps, values_SN
    ends, values_MS = windows(steps, values_SN.T, TRAIN_WINDOWS)
    return ends, values_MS.T


def _run(run: RunReader, key: str, index: int, words: str) -> list[Mark]:
    """A thin line for one run; a diverged one is dotted and ends in a cross."""
    steps, values = run.curve(key)
    if not np.isfinite(values).any():
        return []
    steps, (values,) = _smooth(key, steps, values[None])
    line = single(steps, values, variant(index), dash="dot" if run.diverged else "solid")
    last = np.flatnonzero(np.isfinite(line.y))[-1:]
    cross = Points(x=line.x[last], y=line.y[last], color=variant(index), words=(words,), size=7, cross=True)
    return [line, cross] if run.diverged and len(last) else [line]


def _cut_first_steps(label: str, values: Sequence[Floats], level: float) -> Axis:
    """An axis that ends a little above the level of the baseline, if the curves get below it."""
    whole = linear_axis(label, [*values, level])
    found = np.concatenate([[level], *values])
    bottom, top = float(np.nanmin(found)), float(np.nanmax(found))
    if level - bottom <= 0.1 * (top - bottom):
        return whole
    return Axis(label=label, limits=(bottom - 0.04 * (level - bottom), min(top, level + 0.35 * (level - bottom))))


Differences = list[tuple[int, Group, NDArray[np.int64], Floats]]


def loss_differences(setting: SettingResults) -> Differences:
    """Validation loss of each variant minus the first one's, over the evaluations that all pairs of survivors share.

    Returns:
        Index and variant, steps (N,), differences (S, N); only of variants that have a pair.
    """
    first, found = setting.groups[0], []
    for index, group in enumerate(setting.groups[1:], 1):
        pairs = [(a, b) for a, b in zip(first.runs, group.runs, strict=True) if _survived(a) and _survived(b)]
        rows = []
        for a, b in pairs:
            steps, in_a, in_b = np.intersect1d(a.curve(VAL_LOSS)[0], b.curve(VAL_LOSS)[0], return_indices=True)
            rows.append((steps, b.curve(VAL_LOSS)[1][in_b] - a.curve(VAL_LOSS)[1][in_a]))
        if rows:
            shared = min(len(steps) for steps, _ in rows)
            found.append((index, group, rows[0][0][:shared], np.stack([d[:shared] for _, d in rows])))
    return found


def _survived(run: RunReader) -> bool:
    return run.finished and not run.diverged


def _differences(view: View, differences: Differences, smallest_effect: float | None) -> Panel:
    marks: list[Mark] = []
    if smallest_effect is not None:
        marks.append(Zone(low=-smallest_effect, high=smallest_effect))
    marks.append(Level(at=0, color=variant(0), dash="solid"))
    for index, group, steps, difference_SN in differences:
        marks += [single(steps, difference, variant(index)) for difference in difference_SN]
        marks.append(banded(steps, difference_SN, variant(index), group.label, markers=True))
    drawn = [difference_SN for *_, difference_SN in differences]
    return Panel(
        title=f"validation loss minus {view.labels[0]}'s",
        x=steps_axis(),
        y=linear_axis("nats per character", drawn, start=0),
        marks=tuple(marks),
    )
