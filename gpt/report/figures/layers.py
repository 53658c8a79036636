"""Figures with a line for everything that has parameters, over training: gradient norms, and probe arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpt.analysis.collect import Group, SettingResults
from gpt.records.formatting import listed
from gpt.records.schema import LAYER_GRAD_NORM
from gpt.report.figures import series
from gpt.report.figures.catalogue import TRAINING, Entry, View
from gpt.report.figures.spec import Figure, Floats, Panel

Layered = tuple[int, Group, series.Steps, Floats]
"""index and variant, steps (N,), values (S, N, L), by everything that has parameters"""


@Entry("gradients", "Gradient norm of each layer", TRAINING, 20,
       "Not recorded: no shown run kept its layers' gradient norms.")  # fmt: skip
def gradients(view: View) -> Figure | None:
    measured = layer_norms(view.setting)
    return _figure(
        view,
        measured,
        panels=_panels(measured, "gradient norm of the layer"),
        meaning="Before clipping: lines far apart are layers that learn from gradients of very different size. Lines "
        "are geometric means over windows of steps.",
    )


@Entry("updates", "Layers over training", TRAINING, 40, "Not recorded: the probes of updates were off.")
def updates(view: View) -> Figure | None:
    arrays = series.recorded(view.setting, ("module",))
    panels = [
        panel
        for array in arrays
        for panel in _panels(
            series.probed(view.setting, array.name), array.title, {"measure": array.name}, markers=True
        )
    ]
    first = arrays[0] if arrays else None
    return (
        None
        if first is None
        else _figure(
            view,
            series.probed(view.setting, first.name),
            panels=panels,
            meaning=f"{series.sentence(f'{first.title}: {first.meaning}')} Lines are geometric means over runs.",
            choices=[series.measures(arrays)],
        )
    )


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


def _panels(measured: Sequence[Layered], what: str, when: dict[str, str] | None = None, **look: Any) -> list[Panel]:
    """A panel for each variant with a line for each layer, all on one logarithmic scale."""
    layers = [_by_name(each) for each in measured]
    names = series.names_of_all([list(each) for each in layers])
    y = series.log_axis(what, [values_SN for each in layers for values_SN in each.values() if _positive(values_SN)])
    return [
        Panel(
            title=f"{group.label}, {group.shown_runs}",
            x=series.STEPS,
            y=y,
            marks=[
                series.banded(steps, values_SN, series.depth(name, names), name, log=True, **look)
                for name, values_SN in by_name.items()
                if _positive(values_SN)
            ],
            variant=index,
            when=when or {},
        )
        for (index, group, steps, _), by_name in zip(measured, layers, strict=True)
    ]


def _figure(view: View, measured: Sequence[Layered], panels: list[Panel], meaning: str, **more: Any) -> Figure | None:
    """The figure, with a word on the layers that a variant lacks, and on those that have no place on its axis."""
    layers = {group.label: _by_name((index, group, steps, v)) for index, group, steps, v in measured}
    off = [f"{name} with `{label}`" for label, of in layers.items() for name in of if not _positive(of[name])]
    not_drawn = f" Not drawn, for a norm of 0 or none at some step: {listed(off)}." if off else ""
    lacks = series.lacking({label: list(of) for label, of in layers.items()})
    caption = f"{meaning} All panels share a logarithmic axis. {series.bands_over(view.setting)}{lacks}{not_drawn}"
    drawn = any(panel.marks for panel in panels)
    return Figure(caption=caption, panels=panels, **more) if drawn else None
