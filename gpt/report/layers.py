"""Probe arrays of a block's variants, and the figure of what the optimizer does to each layer."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gpt.report.style import (
    Floats,
    draw_band,
    label_bottom,
    layer_colors,
    layers_of_all,
    legend_below,
    log_axis,
    panels,
)
from gpt.study.collect import BlockResults, Group


def probed(block: BlockResults, name: str) -> list[tuple[int, Group, NDArray[np.int64], Floats]]:
    """Variants whose shown runs all have a probe array: index, variant, steps (N,), values (S, N, ...)."""
    found = []
    for index, group in enumerate(block.groups):
        arrays = [cell.probes[name] for cell in group.shown if name in cell.probes]
        if arrays:
            length = min(len(steps) for steps, _ in arrays)
            found.append((index, group, arrays[0][0][:length], np.stack([values[:length] for _, values in arrays])))
    return found


def updates(figure: Figure, block: BlockResults) -> None:
    """Size of an update relative to the weights it changes, layer by layer, over training."""
    groups = probed(block, "update_ratio")
    rows = panels(figure, len(groups))
    shades = layer_colors(layers_of_all([group.shown[0].run["layers"] for _, group, _, _ in groups]))
    lowest, highest = np.inf, 0.0
    for axes, (_, group, steps, ratio_SNL) in zip(rows, groups, strict=True):
        for layer, name in enumerate(group.shown[0].run["layers"]):
            ratio_SN = ratio_SNL[:, :, layer]
            if np.isfinite(ratio_SN).all() and (ratio_SN > 0).all():
                draw_band(axes, steps, ratio_SN, shades[name], name, log=True, marker="o", markersize=3)
                lowest, highest = min(lowest, ratio_SN.min()), max(highest, ratio_SN.max())
        axes.set_title(f"{group.label}, {group.shown_runs}")
    label_bottom(rows, "step")
    rows[0].set_ylabel("update / weight")
    log_axis(rows[0], lowest, highest)
    legend_below(figure, *rows)
