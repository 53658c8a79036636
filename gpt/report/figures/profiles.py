"""Figures of every probe array with one axis, layer by layer or along another one, and of those that are one number."""

from collections.abc import Sequence
from dataclasses import replace

from gpt.analysis.run_reader import RunReader
from gpt.records.catalogue import BY_LAYER, Array, coordinates
from gpt.report.figures import series
from gpt.report.figures.catalogue import INSIDE, Entry, View
from gpt.report.figures.spec import Axis, Choice, Figure, Floats, Frame, Mark, Panel, Pick, variant

STEPS = 40
"""at most so many probed steps to choose from"""


@Entry("activations", "Activations by depth", INSIDE, 10, "Not recorded: the probes of activations were off.")
def activations(view: View) -> Figure | None:
    """Size, extremes and shape of the residual stream, dead units, and what else runs along the layers."""
    arrays = series.recorded(view.setting, ("layer",), ("depth",))
    layers = {g.label: series.numbered("layer", g.shown[0].info["config"]["model"]["layers"])
              for g in view.setting.groups if g.shown}  # fmt: skip
    seen = (
        "From the input on the left to the output on the right, before training (broken lines, open marks) and after: "
        "a size that grows from layer to layer is a stream that every layer adds to."
    )
    return _profiles(view, arrays, seen, series.lacking(layers))


@Entry("profiles", "Measurements along the text", INSIDE, 65, "")
def profiles(view: View) -> Figure | None:
    """The arrays along any other axis."""
    arrays = [a for a in view.setting.arrays.values() if len(a.axes) == 1 and a.axes[0] not in BY_LAYER]
    kept = [array for array in arrays if series.probed(view.setting, array.name)]
    return _profiles(view, kept, "Before training (broken lines) and after.")


@Entry("scalars", "Other measurements over training", INSIDE, 70, "")
def scalars(view: View) -> Figure | None:
    """A panel for each array, a line for each variant's mean."""
    panels, arrays = [], series.recorded(view.setting, ())
    for array in arrays:
        measured = series.probed(view.setting, array.name)
        marks: list[Mark] = [*series.neutral_levels(view.setting, array)]
        for index, group, steps, values_SN in measured:
            log = array.scale == "log" and bool((values_SN > 0).all())
            marks.append(series.banded(steps, values_SN, variant(index), group.label, log, markers=True))
        y = series.array_axis(array, [values_SN for *_, values_SN in measured])
        panels.append(Panel(title=array.title, x=series.STEPS, y=y, marks=marks))
    caption = f"At every probed step. {_meanings(arrays)} {series.bands_over(view.setting)}"
    return Figure(caption=caption, panels=panels) if panels else None


def _profiles(view: View, arrays: Sequence[Array], seen: str, lacking: str = "") -> Figure | None:
    """Each array along its axis, before training and at a step of choice, a panel for each array."""
    if not arrays:
        return None
    measured = [each for array in arrays for each in series.probed(view.setting, array.name)]
    kept = series.few_steps(sorted({int(step) for _, _, steps, _ in measured for step in steps}), STEPS)
    options = [(str(step), f"{step:,}") for step in kept]
    return Figure(
        caption=f"{seen} {_meanings(arrays)} {series.bands_over(view.setting)}{lacking}",
        panels=[_profile(view, array, kept) for array in arrays],
        choices=[Choice(name="step", options=options, default=str(kept[-1]), ordered=True)],
        columns=2,
    )


def _profile(view: View, array: Array, kept: list[int]) -> Panel:
    marks: list[Mark] = []
    drawn: list[Floats] = []
    axes: list[Axis] = []
    for index, group, steps, values_SNX in series.probed(view.setting, array.name):
        values_SNX = 100 * values_SNX if array.is_share else values_SNX
        drawn.append(values_SNX)
        x, axis = _along(group.shown[0], array, values_SNX.shape[2])
        axes.append(axis)
        log = array.scale == "log" and bool((values_SNX > 0).all())
        lines = [
            series.banded(
                x,
                values_SNX[:, n],
                variant(index),
                f"{group.label}, {series.step_words(step)}",
                log,
                markers=axis.named,
            )
            for n, step in enumerate(steps)
        ]
        if steps[0] == 0:
            marks.append(replace(lines[0], dash="dash", filled=False))
        marks.append(Pick([Frame({"step": str(n)}, line) for n, line in zip(steps, lines, strict=True) if n in kept]))
    levels = [replace(level, dash="dot") for level in series.neutral_levels(view.setting, array)]
    along = max(axes, key=lambda axis: axis.limits or ())
    return Panel(title=array.title, x=along, y=series.array_axis(array, drawn), marks=[*marks, *levels])


def _along(run: RunReader, array: Array, size: int) -> tuple[Sequence[float], Axis]:
    """Places of the array's entries, and their axis: layers by name, anything else by its numbers."""
    if array.axes[0] in BY_LAYER:
        return range(size), series.named_axis(run.axis_names(array.name, (size,))[0], room=0.3)
    values = {name: probed[1][-1] for name, probed in run.probes.items() if name in array.axes}
    at = coordinates(array.axes[0], values, size)
    return at.at, series.linear_axis(at.title, [at.at])


def _meanings(arrays: Sequence[Array]) -> str:
    return series.sentence("; ".join(f"{array.title}: {array.meaning}" for array in arrays if array.meaning))
