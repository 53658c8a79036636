"""Figures of the layers' gradient norms: over training, and how they are distributed."""

import numpy as np
from matplotlib.figure import Figure

from gpt.analysis.collect import SettingResults
from gpt.analysis.findings import SettingFindings
from gpt.records.formatting import listed
from gpt.records.schema import LAYER_GRAD_NORM
from gpt.report.draw.png import beside, color, layers_of_all, legend_below, log_axis, marker, windows
from gpt.report.figures.by_depth import Layered, layer_panels
from gpt.report.figures.training import TRAIN_WINDOWS, drawn_groups, stacked


def layer_norms(setting: SettingResults) -> list[Layered]:
    """Gradient norm of each layer before clipping: geometric means over windows of steps."""
    found = []
    for index, group in drawn_groups(setting):
        if (over := stacked(group.shown, LAYER_GRAD_NORM)) is None:
            continue
        steps, norm_SNL = over
        with np.errstate(divide="ignore", invalid="ignore"):  # a norm of 0 makes its window's mean 0
            ends, smooth_MSL = windows(steps, np.log(norm_SNL).swapaxes(0, 1), TRAIN_WINDOWS)
        smooth_LSM = np.exp(smooth_MSL).transpose(2, 1, 0)
        found.append(Layered(index, group, ends, dict(zip(group.shown[0].info["layers"], smooth_LSM, strict=True))))
    return found


def over_training(figure: Figure, setting: SettingResults) -> None:
    """Gradient norm of each layer before clipping; a panel for each variant, one scale for all."""
    layer_panels(figure, layer_norms(setting), "gradient norm of the layer")


def left_out(setting: SettingResults) -> str:
    """A sentence on the layers that a logarithmic axis has no place for; empty where there are none."""
    missing = [
        f"{name} with `{each.group.label}`"
        for each in layer_norms(setting)
        for name in each.by_layer
        if name not in each.positive
    ]
    return f" Not drawn, for a norm of 0 or none at some step: {listed(missing)}." if missing else ""


def distribution(figure: Figure, found: SettingFindings) -> None:
    """Quantiles of each layer's gradient norm over the steps after warm-up, variants side by side.

    Args:
        found: findings of one setting.
    """
    axes = figure.subplots()
    drawn = [(i, v, v.gradient_quantiles) for i, v in enumerate(found.variants) if v.gradient_quantiles]
    names = layers_of_all([variant.layers for _, variant, _ in drawn])
    lowest, highest = np.inf, 0.0
    for place, (index, variant, quantiles) in enumerate(drawn):
        quantiles_GQ = np.array(quantiles.by_layer)
        layers = np.flatnonzero((quantiles_GQ > 0).all(axis=1))
        low, lower, middle, upper, high = quantiles_GQ[layers].T
        at = np.array([names.index(name) for name in variant.layers])  # not all variants have a head
        x = at[layers] + beside(place, len(drawn))
        shade = color(index)
        axes.vlines(x, low, high, color=shade, linewidth=1.4)
        axes.vlines(x, lower, upper, color=shade, linewidth=8, alpha=0.45)
        axes.plot(x, middle, marker=marker(index), color=shade, linestyle="", markersize=6, label=variant.label)
        first = np.array(quantiles.first_step)[layers]
        axes.plot(x, first, marker=marker(index), color=shade, linestyle="", markersize=6, markerfacecolor="white",
                  label=f"{variant.label}, first step")  # fmt: skip
        lowest, highest = min(lowest, low.min(), first.min()), max(highest, high.max(), first.max())
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("gradient norm of the layer")
    log_axis(axes, lowest, highest)
    legend_below(figure, axes)
