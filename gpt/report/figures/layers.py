"""Figures with a line for each layer over training: gradient norms, and the size of updates relative to weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.collect import Group, SettingResults
from gpt.records.formatting import listed
from gpt.records.schema import LAYER_GRAD_NORM
from gpt.report.figures.catalogue import TRAINING, View, figure
from gpt.report.figures.series import (
    TRAIN_WINDOWS,
    banded,
    bands_over,
    depth,
    drawn_groups,
    lacking,
    log_axis,
    names_of_all,
    probed,
    stacked,
    steps_axis,
    windows,
)
from gpt.report.figures.spec import Figure, Floats, Panel


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
        return {name: v_SN for name, v_SN in self.by_layer.items() if np.isfinite(v_SN).all() and (v_SN > 0).all()}


@figure("gradients", "Gradient norm of each layer", TRAINING, 20,
        "Not recorded: no run that is shown kept its layers' gradient norms.")  # fmt: skip
def gradients(view: View) -> Figure | None:
    return _by_layer(
        view,
        layer_norms(view.setting),
        "gradient norm of the layer",
        "Before clipping, on a logarithmic axis that all panels share: lines far apart are layers that learn from "
        "gradients of very different size. Lines are geometric means over windows of steps.",
    )


@figure("updates", "Size of an update relative to the weights", TRAINING, 40,
        "Not recorded: the probes of updates were off.")  # fmt: skip
def updates(view: View) -> Figure | None:
    return _by_layer(
        view,
        update_ratios(view.setting),
        "update / weight",
        "Norm of one step's change of a layer over the norm of its weights, on a logarithmic axis that all panels "
        "share: layers far apart learn at very different speeds.",
        markers=True,
    )


def layer_norms(setting: SettingResults) -> list[Layered]:
    """Gradient norm of each layer before clipping: geometric means over windows of steps."""
    found = []
    for index, group in drawn_groups(setting):
        if (over := stacked(group.shown, LAYER_GRAD_NORM)) is None:
            continue
        steps, norm_SNL = over
        with np.errstate(divide="ignore", invalid="ignore"):  # a norm of 0 makes its window's mean 0
            ends, smooth_MSL = windows(steps, np.log(norm_SNL).swapaxes(0, 1), TRAIN_WINDOWS)
        found.append(_layered(index, group, ends, np.exp(smooth_MSL).swapaxes(0, 1)))
    return found


def update_ratios(setting: SettingResults) -> list[Layered]:
    """Norm of one step's change of each layer over the norm of its weights, at the probed steps."""
    return [_layered(*each) for each in probed(setting, "update_ratio")]


def _layered(index: int, group: Group, steps: NDArray[np.int64], values_SNL: Floats) -> Layered:
    names = group.shown[0].info["layers"]
    return Layered(index, group, steps, dict(zip(names, np.moveaxis(values_SNL, 2, 0), strict=True)))


def _by_layer(view: View, measured: Sequence[Layered], what: str, meaning: str, **look: Any) -> Figure | None:
    """A panel for each variant with a line for each layer, all on one logarithmic scale."""
    if not any(each.positive for each in measured):
        return None
    names = names_of_all([list(each.by_layer) for each in measured])
    lines = [
        [banded(each.steps, v_SN, depth(name, names), name, log=True, **look) for name, v_SN in each.positive.items()]
        for each in measured
    ]
    y = log_axis(what, [v_SN for each in measured for v_SN in each.positive.values()])
    panels = [
        Panel(title=f"{each.group.label}, {each.group.shown_runs}", x=steps_axis(), y=y, marks=tuple(panel),
              variant=each.variant)
        for each, panel in zip(measured, lines, strict=True)
    ]  # fmt: skip
    lacks = lacking({each.group.label: list(each.by_layer) for each in measured})
    return Figure(caption=f"{meaning} {bands_over(view.setting)}{lacks}{left_out(measured)}", panels=tuple(panels))


def left_out(measured: Sequence[Layered]) -> str:
    """A sentence on the layers that a logarithmic axis has no place for; empty where there are none."""
    missing = [
        f"{name} with `{each.group.label}`" for each in measured for name in each.by_layer if name not in each.positive
    ]
    return f" Not drawn, for a norm of 0 or none at some step: {listed(missing)}." if missing else ""
