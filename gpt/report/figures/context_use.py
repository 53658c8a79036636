"""The figure on long-range use of context: by position, with the context cut short, and by the gradient's reach."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpt.analysis.collect import Group, SettingResults
from gpt.analysis.findings import LongRange, SettingFindings, VariantFindings
from gpt.records.formatting import fixed
from gpt.report.draw.png import color, draw_band, draw_between, legend_below, marker, windows

POSITION_WINDOWS = 16
"""windows that the trained context's positions are averaged over"""


def measured(setting: SettingResults, found: SettingFindings) -> list[tuple[int, Group, VariantFindings, LongRange]]:
    """Index, runs and findings of each variant of a setting whose surviving runs were measured."""
    pairs = zip(setting.groups, found.variants, strict=True)
    return [(i, group, v, v.long_range) for i, (group, v) in enumerate(pairs) if v.long_range]


def long_range(figure: Figure, drawn: Sequence[tuple[int, Group, VariantFindings, LongRange]]) -> None:
    """Left: loss by position. Middle: loss with the context cut to its last characters. Right: reach of the gradient.

    Args:
        drawn: what `measured` found.
    """
    left, middle, right = figure.subplots(1, 3)
    for index, group, variant, arrays in drawn:
        shade, name = color(index), variant.label
        loss_SN = np.stack([c.long_range["loss_by_position"] for c in group.survivors if c.long_range is not None])
        wanted = POSITION_WINDOWS * loss_SN.shape[1] // arrays.context
        position, smooth = windows(np.arange(1, loss_SN.shape[1] + 1), loss_SN.T, wanted)
        draw_band(left, position, smooth.T, shade, name)
        lengths = arrays.context_lengths
        loss = arrays.context_loss
        draw_between(middle, lengths, loss.mean, loss.low, loss.high, shade, name, marker=marker(index),
                     markersize=4)  # fmt: skip
        mean, low, high = (100 * np.array(getattr(arrays.reach, end)) for end in ("mean", "low", "high"))
        within = np.arange(1, arrays.context + 1)
        draw_between(right, within, mean, low, high, shade, name)
        _mark_half(right, variant, index)
    context = max(arrays.context for *_, arrays in drawn)
    left.axvline(context + 0.5, color="#777777", linewidth=0.9, linestyle=(0, (4, 3)))
    left.annotate("trained\ncontext", (context, 1), (-3, -2), xycoords=("data", "axes fraction"),
                  textcoords="offset points", ha="right", va="top", color="#555555", fontsize=8.5)  # fmt: skip
    left.set_title("loss by position in the window")
    left.set_xlabel("position, characters")
    left.set_ylabel("nats per character")
    middle.set_title("loss with the context cut")
    middle.set_xlabel("last characters that it sees")
    right.axhline(50, color="#777777", linewidth=0.9, linestyle=(0, (4, 3)))
    right.set_title("gradient within reach, %")
    right.set_xlabel("last characters")
    right.set_ylim(0, 104)
    for axes in (middle, right):
        _doubling_axis(axes, context)
    legend_below(figure, left)


def _mark_half(axes: Axes, variant: VariantFindings, index: int) -> None:
    """The half-length, a mean over runs, on the level of one half; names stand one under the other."""
    length = variant.secondary["median_lookback"].mean.mean
    if not math.isfinite(length):
        return
    axes.plot([length], [50], marker=marker(index), color=color(index), markersize=8, zorder=4)
    axes.annotate(f"half within {fixed(length, 1)}", (0.98, 0.05 + 0.1 * index), xycoords="axes fraction", ha="right",
                  color=color(index))  # fmt: skip


def _doubling_axis(axes: Axes, context: int) -> None:
    ticks = [2**k for k in range(context.bit_length())]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(t) if len(ticks) <= 8 or k % 2 == 0 else "" for k, t in enumerate(ticks)])
    axes.minorticks_off()
