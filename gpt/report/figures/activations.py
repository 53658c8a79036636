"""The figure of every probe array by layer: size, extremes and shape of the residual stream, dead units."""

from dataclasses import replace

import numpy as np

from gpt.records.catalogue import Array
from gpt.report.figures import series
from gpt.report.figures.catalogue import INSIDE, Entry, View
from gpt.report.figures.spec import Choice, Figure, Floats, Frame, Mark, Panel, Pick, variant

STEPS = 40
"""at most so many probed steps to choose from"""


@Entry("activations", "Activations by depth", INSIDE, 10, "Not recorded: the probes of activations were off.")
def activations(view: View) -> Figure | None:
    """Each array by depth, before training and at a step of choice, a panel for each array."""
    arrays = series.recorded(view.setting, ("layer",), ("depth",))
    if not arrays:
        return None
    measured = [each for array in arrays for each in series.probed(view.setting, array.name)]
    kept = series.few_steps(sorted({int(step) for _, _, steps, _ in measured for step in steps}), STEPS)
    options = [(str(step), f"{step:,}") for step in kept]
    layers = {
        group.label: series.numbered("layer", group.shown[0].info["config"]["model"]["layers"])
        for _, group, _, _ in measured
    }
    meanings = "; ".join(f"{array.title}: {array.meaning}" for array in arrays if array.meaning)
    return Figure(
        caption="From the input on the left to the output on the right, before training (broken lines, open marks) and "
        "after: a size that grows from layer to layer is a stream that every layer adds to. "
        f"{series.sentence(meanings)} {series.bands_over(view.setting)}"
        f"{series.lacking(layers)}",
        panels=[_by_depth(view, array, kept) for array in arrays],
        choices=[Choice(name="step", options=options, default=str(kept[-1]), ordered=True)],
        columns=2,
    )


def _by_depth(view: View, array: Array, kept: list[int]) -> Panel:
    marks: list[Mark] = []
    drawn: list[Floats] = []
    names: list[str] = []
    for index, group, steps, values_SNL in series.probed(view.setting, array.name):
        values_SNL = 100 * values_SNL if array.is_share else values_SNL
        drawn.append(values_SNL)
        names = max(names, group.shown[0].axis_names(array.name, values_SNL.shape[2:])[0], key=len)
        x, log = np.arange(values_SNL.shape[2]), array.scale == "log" and bool((values_SNL > 0).all())
        lines = [
            series.banded(
                x, values_SNL[:, n], variant(index), f"{group.label}, {series.step_words(step)}", log, markers=True
            )
            for n, step in enumerate(steps)
        ]
        if steps[0] == 0:
            marks.append(replace(lines[0], dash="dash", filled=False))
        frames = [Frame({"step": str(step)}, line) for step, line in zip(steps, lines, strict=True) if step in kept]
        marks.append(Pick(frames))
    levels = [replace(level, dash="dot") for level in series.neutral_levels(view.setting, array)]
    y = series.array_axis(array, drawn)
    return Panel(title=array.title, x=series.named_axis(names, room=0.3), y=y, marks=[*marks, *levels])
