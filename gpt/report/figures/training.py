"""Figures over training steps: loss, clipping, gradient noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gpt.analysis.collect import Group, RunReader, SettingResults
from gpt.analysis.noise_scale import StepEstimates, step_estimates
from gpt.records.schema import CLIP_SCALE, TRAIN_LOSS, VAL_LOSS
from gpt.report.draw.png import (
    Floats,
    band,
    color,
    draw_band,
    empty,
    legend_below,
    log_axis,
    marker,
    windows,
)

TRAIN_WINDOWS = 40
"""windows of steps that noisy curves are averaged over"""
NOISE_WINDOWS = 12
"""fewer, for single steps say little of the noise scale"""
BROKEN = (0, (3, 2))
"""line style of a diverged run"""


def drawn_groups(setting: SettingResults) -> list[tuple[int, Group]]:
    """Variants with a finished run, each with the index that fixes its colour."""
    return [(i, group) for i, group in enumerate(setting.groups) if any(run.finished for run in group.runs)]


def stacked(runs: Sequence[RunReader], key: str) -> tuple[NDArray[np.int64], Floats] | None:
    """Steps (N,) and values (S, N, ...) of several runs, over the first steps that all have finite values for."""
    curves = [run.curve(key) for run in runs if len(run.curve(key)[0])]
    if not curves:
        return None
    length = min(len(steps) for steps, _ in curves)
    values = np.stack([values[:length] for _, values in curves])
    finite = np.isfinite(values).reshape(len(values), length, -1).all(axis=(0, 2))
    length = length if finite.all() else int(np.argmin(finite))
    return (curves[0][0][:length], values[:, :length]) if length else None


def loss(figure: Figure, setting: SettingResults, smallest_effect: float | None) -> None:
    """Validation loss, training loss, and the paired difference of the validation loss while training goes on.

    Args:
        smallest_effect: shown in the last panel; None where the metric is not a validation loss.
    """
    groups = drawn_groups(setting)
    left, middle, right = figure.subplots(1, 3, gridspec_kw={"width_ratios": [1, 1, 1]})
    for index, group in groups:
        if not group.survivors:
            left.plot([], [], color=color(index), linestyle=BROKEN, label=f"{group.label}, all diverged")
        for axes, key in ((left, VAL_LOSS), (middle, TRAIN_LOSS)):
            for run in group.runs:
                if run.finished:
                    _seed_line(axes, run, key, index)
            if (found := stacked(group.survivors, key)) is not None:
                steps, values = found
                if key == TRAIN_LOSS:
                    steps, smooth = windows(steps, values.T, TRAIN_WINDOWS)
                    values = smooth.T
                draw_band(axes, steps, values, color(index), group.label)
    unigram = groups[0][1].runs
    level = next(run.info["data"]["unigram_loss"] for run in unigram if run.finished)
    for axes, title in ((left, "validation loss"), (middle, "training loss")):
        axes.axhline(level, color="#777777", linewidth=0.9, linestyle=(0, (4, 3)), label="knows only frequencies")
        axes.set_title(title)
        axes.set_xlabel("step")
        _cut_first_steps(axes, level)
    left.set_ylabel("nats per character")
    _difference_over_training(right, setting, smallest_effect)
    legend_below(figure, left)


def _cut_first_steps(axes: Axes, level: float) -> None:
    """End the axis a little above the level of a model without context, if the curves get below it."""
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines])
    bottom, top = np.nanmin(values), np.nanmax(values)
    if level - bottom > 0.1 * (top - bottom):
        axes.set_ylim(bottom - 0.03 * (level - bottom), min(top, level + 0.35 * (level - bottom)))


def _seed_line(axes: Axes, run: RunReader, key: str, index: int) -> None:
    """A thin line for one run; a diverged one is broken and ends in a cross."""
    steps, values = run.curve(key)
    if key == TRAIN_LOSS and len(steps):
        steps, values = windows(steps, values, TRAIN_WINDOWS)
    finite = np.isfinite(values)
    if not finite.any():
        return
    style = BROKEN if run.diverged else "-"
    axes.plot(steps, values, color=color(index), linewidth=0.6, alpha=0.5, linestyle=style)
    if run.diverged:
        axes.plot(steps[finite][-1:], values[finite][-1:], marker="x", color=color(index), markersize=7, linestyle="")


def loss_differences(setting: SettingResults) -> list[tuple[int, Group, NDArray[np.int64], Floats]]:
    """Validation loss of each variant minus the first one's, over the evaluations that all pairs of survivors share.

    Returns:
        Index and variant, steps (N,), differences (S, N); only of variants that have a pair.
    """
    first, found = setting.groups[0], []
    for index, group in enumerate(setting.groups[1:], 1):
        pairs = [(a, b) for a, b in zip(first.runs, group.runs, strict=True) if survived(a) and survived(b)]
        rows = []
        for a, b in pairs:
            steps, in_a, in_b = np.intersect1d(a.curve(VAL_LOSS)[0], b.curve(VAL_LOSS)[0], return_indices=True)
            rows.append((steps, b.curve(VAL_LOSS)[1][in_b] - a.curve(VAL_LOSS)[1][in_a]))
        if rows:
            shared = min(len(steps) for steps, _ in rows)
            found.append((index, group, rows[0][0][:shared], np.stack([d[:shared] for _, d in rows])))
    return found


def _difference_over_training(axes: Axes, setting: SettingResults, smallest_effect: float | None) -> None:
    first = setting.groups[0]
    drawn = loss_differences(setting)
    for index, group, steps, difference_SN in drawn:
        for difference in difference_SN:
            axes.plot(steps, difference, color=color(index), linewidth=0.6, alpha=0.5)
        draw_band(axes, steps, difference_SN, color(index), group.label, marker=marker(index), markersize=4)
    if not drawn:
        empty(axes, "no pair of runs\nto compare")
        return
    if smallest_effect is not None:
        axes.axhspan(-smallest_effect, smallest_effect, color="#dddddd", alpha=0.6, linewidth=0)
    axes.axhline(0, color=color(0), linewidth=1.2)
    axes.set_title(f"validation loss minus {first.label}'s")
    axes.set_xlabel("step")


def survived(run: RunReader) -> bool:
    return run.finished and not run.diverged


def clipping(figure: Figure, setting: SettingResults) -> None:
    """Share of steps whose gradient was scaled down, and by how much, over training."""
    left, right = figure.subplots(1, 2, sharex=True)
    for index, group in drawn_groups(setting):
        if (found := stacked(group.shown, CLIP_SCALE)) is None:
            continue
        steps, scale_SN = found
        ends, share = windows(steps, (scale_SN < 1).astype(float).T, TRAIN_WINDOWS // 2)
        _, mean_scale = windows(steps, scale_SN.T, TRAIN_WINDOWS // 2)
        line: dict[str, Any] = {"marker": marker(index), "markersize": 3.5}
        draw_band(left, ends, 100 * share.T, color(index), group.label, **line)
        draw_band(right, ends, mean_scale.T, color(index), group.label, **line)
    left.set_title("steps whose gradient was scaled down, %")
    left.set_ylim(-4, 104)
    right.set_title("mean factor the gradient was multiplied by")
    right.set_ylim(top=1.03)
    for axes in (left, right):
        axes.set_xlabel("step")
    legend_below(figure, left)


def noise_measured(setting: SettingResults) -> list[tuple[int, Group, list[StepEstimates]]]:
    """Variants whose surviving runs recorded what the gradient noise scale is estimated from, with the estimates."""
    found = []
    for index, group in enumerate(setting.groups):
        runs = [each for run in group.survivors if (each := step_estimates(run)) is not None]
        if runs:
            found.append((index, group, runs))
    return found


def noise(figure: Figure, measured: Sequence[tuple[int, Group, list[StepEstimates]]]) -> None:
    """The gradient noise scale over training; bands are made on its inverse, which may reach or cross 0."""
    axes = figure.subplots()
    lowest, highest = np.inf, 0.0
    for index, group, runs in measured:
        ends, grad_square_WS = windows(runs[0].steps, np.stack([run.grad_square for run in runs], 1), NOISE_WINDOWS)
        _, trace_WS = windows(runs[0].steps, np.stack([run.trace for run in runs], 1), NOISE_WINDOWS)
        inverse_W, low_W, high_W = band((grad_square_WS / np.where(trace_WS > 0, trace_WS, np.nan)).T)
        scale_W, from_W = _turned(inverse_W), _turned(high_W)
        to_W = np.where(low_W > 0, _turned(low_W), np.inf)
        if np.isfinite(scale_W).any():
            lowest, highest = min(lowest, np.nanmin(scale_W)), max(highest, np.nanmax(scale_W))
        axes.plot(ends, scale_W, color=color(index), label=group.label, marker=marker(index), markersize=4)
        if len(runs) > 1:  # a band without an upper end leaves the axes at the top
            axes.fill_between(ends, from_W, np.minimum(to_W, 100 * scale_W), color=color(index), alpha=0.2, linewidth=0)
    if highest == 0:
        empty(axes, "not determined in any window of steps")
        return
    for size in sorted({runs[0].batch_size for _, _, runs in measured}):
        lowest, highest = min(lowest, size), max(highest, size)
        axes.axhline(size, color="#777777", linewidth=0.9, linestyle=(0, (4, 3)), label=f"the batch, {size}")
    axes.set_ylabel("noise scale, sequences")
    axes.set_xlabel("step")
    axes.set_xlim(0, 1.02 * max(run.steps[-1] for _, _, runs in measured for run in runs))
    log_axis(axes, lowest, highest)
    axes.set_ylim(lowest / 1.5, highest * 1.5)
    legend_below(figure, axes)


def _turned(inverse: Floats) -> Floats:
    """One over what is above 0; NaN for the rest."""
    return 1 / np.where(inverse > 0, inverse, np.nan)
