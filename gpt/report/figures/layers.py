"""Figures with a line for everything that has parameters, over training: gradient norms, and probe arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpt.analysis.collect import Group, SettingResults
from gpt.records.formatting import listed
from gpt.records.schema import LAYER_GRAD_NORM
from gpt.report.figures import series
from gpt.report.figures.catalogue import TRAINING, Entry, View
from gpt.report.figures.spec import Choice, Figure, Floats, Panel

Layered = tuple[int, Group, series.Steps, Floats]
"""index and variant, steps (N,), values (S, N, L), by everything that has parameters"""
Part = tuple[dict[str, str], str, Sequence[Layered]]
"""choices that show it, label of the axis, and what is on it"""


@Entry("gradients", "Gradient norm of each layer", TRAINING, 20,
       "Not recorded: no shown run kept its layers' gradient norms.")  # fmt: skip
def gradients(view: View) -> Figure | None:
    return _figure(
        view,
        [({}, "gradient norm of the layer", layer_norms(view.setting))],
        "Before clipping: lines far apart are layers that learn from gradients of very different size. Lines are "
        "geometric means over windows of steps.",
    )


@Entry("updates", "Layers over training", TRAINING, 40, "Not recorded: the probes of updates were off.")
def updates(view: View) -> Figure | None:
    arrays = series.recorded(view.setting, ("module",))
    if not arrays:
        return None
    parts = [({"measure": array.name}, array.title, series.probed(view.setting, array.name)) for array in arrays]
    meaning = series.sentence(f"{arrays[0].title}: {arrays[0].meaning}")
    lines = "Lines are geometric means over runs."
    return _figure(view, parts, f"{meaning} {lines}", [series.measures(arrays)], markers=True)


def layer_norms(setting: SettingResults) -> list[Layered]:
    """Gradient norm of each layer before clipping: geometric means over windows of steps."""
    norms = []
    for index, group in series.drawn_groups(setting):
        if (over := series.stacked(group.shown, LAYER_GRAD_NORM)) is not None:
            with np.errstate(divide="ignore", invalid="ignore"):  # a norm of 0 makes its window's mean 0
                ends, smooth_NSL = series.windows(over[0], np.log(over[1]).swapaxes(0, 1), series.TRAIN_WINDOWS)
            norms.append((index, group, ends, np.exp(smooth_NSL).swapaxes(0, 1)))
    return norms


def _by_name(measured: Layered) -> dict[str, Floats]:
    """(S, N) of each layer, from the input to the output."""
    _, group, _, values_SNL = measured
    return dict(zip(group.shown[0].info["layers"], np.moveaxis(values_SNL, 2, 0), strict=True))


def _positive(values_SN: Floats) -> bool:
    """A logarithmic axis has a place for it."""
    return bool(np.isfinite(values_SN).all() and (values_SN > 0).all())


def _figure(
    view: View, parts: Sequence[Part], meaning: str, choices: Sequence[Choice] = (), **look: Any
) -> Figure | None:
    """The panels of all parts, with a word on the layers that a variant lacks, and on those without a place on them."""
    panels = [panel for when, what, measured in parts for panel in _panels(what, measured, when, **look)]
    if not any(panel.marks for panel in panels):
        return None
    layers = {each[1].label: _by_name(each) for each in parts[0][2]}
    off = [f"{name} with `{label}`" for label, of in layers.items() for name in of if not _positive(of[name])]
    not_drawn = f" Not drawn, for a norm of 0 or none at some step: {listed(off)}." if off else ""
    lacks = series.lacking({label: list(of) for label, of in layers.items()})
    caption = f"{meaning} All panels share a logarithmic axis. {series.bands_over(view.setting)}{lacks}{not_drawn}"
    return Figure(caption=caption, panels=panels, choices=choices)


def _panels(what: str, measured: Sequence[Layered], when: dict[str, str], **look: Any) -> list[Panel]:
    """A panel for each variant with a line for each layer, all on one logarithmic scale."""
    layers = [{name: of for name, of in _by_name(each).items() if _positive(of)} for each in measured]
    names = series.names_of_all([list(_by_name(each)) for each in measured])
    y = series.log_axis(what, [values_SN for each in layers for values_SN in each.values()])
    return [
        Panel(
            title=f"{group.label}, {group.shown_runs}",
            x=series.STEPS,
            y=y,
            marks=[
                series.banded(steps, values_SN, series.depth(name, names), name, log=True, **look)
                for name, values_SN in by_name.items()
            ],
            variant=index,
            when=when,
        )
        for (index, group, steps, _), by_name in zip(measured, layers, strict=True)
    ]
