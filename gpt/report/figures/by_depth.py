"""Probe arrays of a setting's variants, and figures with a line for each layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gpt.analysis.collect import Group, SettingResults
from gpt.report.draw.png import (
    Floats,
    draw_band,
    label_bottom,
    layer_colors,
    layers_of_all,
    legend_below,
    log_axis,
    panels,
)


@dataclass(frozen=True)
class Layered:
    """A number of every layer over training, of one variant's shown runs."""

    variant: int
    group: Group
    steps: NDArray[np.int64]
    """(N,)"""
    by_layer: Mapping[str, Floats]
    """(S, N) each, from the input to the output"""

    @property
    def positive(self) -> dict[str, Floats]:
        """The layers that a logarithmic axis has a place for."""
        return {name: values_SN for name, values_SN in self.by_layer.items() if _positive(values_SN)}


def _positive(values_SN: Floats) -> bool:
    return bool(np.isfinite(values_SN).all() and (values_SN > 0).all())


def layer_panels(figure: Figure, measured: Sequence[Layered], what: str, **line: Any) -> None:
    """A panel for each variant with a line for each layer, all on one logarithmic scale."""
    rows = panels(figure, len(measured))
    shades = layer_colors(layers_of_all([list(each.by_layer) for each in measured]))
    drawn = [values_SN for each in measured for values_SN in each.positive.values()]
    for axes, each in zip(rows, measured, strict=True):
        for name, values_SN in each.positive.items():
            draw_band(axes, each.steps, values_SN, shades[name], name, log=True, **line)
        axes.set_title(f"{each.group.label}, {each.group.shown_runs}")
    label_bottom(rows, "step")
    rows[0].set_ylabel(what)
    log_axis(rows[0], min((v.min() for v in drawn), default=0.0), max((v.max() for v in drawn), default=0.0))
    legend_below(figure, *rows)


def probed(setting: SettingResults, name: str) -> list[tuple[int, Group, NDArray[np.int64], Floats]]:
    """Variants whose shown runs all have a probe array: index, variant, steps (N,), values (S, N, ...)."""
    found = []
    for index, group in enumerate(setting.groups):
        arrays = [run.probes[name] for run in group.shown if name in run.probes]
        if arrays:
            length = min(len(steps) for steps, _ in arrays)
            found.append((index, group, arrays[0][0][:length], np.stack([values[:length] for _, values in arrays])))
    return found


def update_ratios(setting: SettingResults) -> list[Layered]:
    """Norm of one step's change of each layer over the norm of its weights, at the probed steps."""
    return [
        Layered(
            index, group, steps, dict(zip(group.shown[0].info["layers"], np.moveaxis(ratio_SNL, 2, 0), strict=True))
        )
        for index, group, steps, ratio_SNL in probed(setting, "update_ratio")
    ]


def updates(figure: Figure, setting: SettingResults) -> None:
    """Size of an update relative to the weights it changes, layer by layer, over training."""
    layer_panels(figure, update_ratios(setting), "update / weight", marker="o", markersize=3)
