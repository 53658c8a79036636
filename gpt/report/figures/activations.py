"""The figure of every probe array by layer: size, extremes and shape of the residual stream, dead units."""

from dataclasses import replace

import numpy as np

from gpt.records.catalogue import Array
from gpt.report.figures.catalogue import INSIDE, View, figure
from gpt.report.figures.series import (
    banded,
    bands_over,
    few_steps,
    lacking,
    linear_axis,
    log_axis,
    named_axis,
    neutral_levels,
    numbered,
    probed,
    recorded,
    step_words,
    symlog_axis,
)
from gpt.report.figures.spec import Axis, Choice, Figure, Floats, Frame, Mark, Option, Panel, Pick, variant

AXES = (("layer",), ("depth",))
STEPS = 40
"""at most so many probed steps to choose from"""


@figure("activations", "Activations by depth", INSIDE, 10, "Not recorded: the probes of activations were off.")
def activations(view: View) -> Figure | None:
    """Each array by depth, before training and at a step of choice, a panel for each array."""
    arrays = recorded(view.setting, *AXES)
    if not arrays:
        return None
    measured = [each for array in arrays for each in probed(view.setting, array.name)]
    steps = sorted({int(step) for _, _, steps, _ in measured for step in steps})
    kept = few_steps(steps, STEPS)
    choice = Choice(name="step", label="Step", options=tuple(Option(str(s), f"{s:,}") for s in kept),
                    default=str(kept[-1]), ordered=True)  # fmt: skip
    depths = {g.label: numbered("layer", [g.shown[0].info["config"]["model"]["layers"]]) for _, g, _, _ in measured}
    meanings = "; ".join(f"{array.title}: {array.meaning}" for array in arrays if array.meaning)
    return Figure(
        caption="From the input on the left to the output on the right, before training (broken lines, open marks) and "
        "after: a size that grows from layer to layer is a stream that every layer adds to. "
        f"{f'{meanings[0].upper()}{meanings[1:]}. ' if meanings else ''}{bands_over(view.setting)}{lacking(depths)}",
        panels=tuple(_by_depth(view, array, kept) for array in arrays),
        choices=(choice,),
        columns=2,
    )


def _by_depth(view: View, array: Array, kept: list[int]) -> Panel:
    marks: list[Mark] = []
    drawn: list[Floats] = []
    percent, names = array.is_share, list[str]()
    for index, group, steps, values_SNL in probed(view.setting, array.name):
        values_SNL = 100 * values_SNL if percent else values_SNL
        log = array.scale == "log" and bool((values_SNL > 0).all())
        names = max(names, group.shown[0].axis_names(array.name, values_SNL.shape[2:])[0], key=len)
        x = np.arange(values_SNL.shape[2])
        lines = [
            banded(x, values_SNL[:, n], variant(index), f"{group.label}, {step_words(step)}", log, markers=True)
            for n, step in enumerate(steps)
        ]
        if steps[0] == 0:
            marks.append(replace(lines[0], dash="dash", filled=False))
        frames = zip(map(str, steps), lines, strict=True)
        marks.append(Pick(tuple(Frame({"step": step}, line) for step, line in frames if int(step) in kept)))
        drawn.append(values_SNL)
    marks += [replace(level, dash="dot") for level in neutral_levels(view.setting, array)]
    scales = {"log": log_axis, "symlog": symlog_axis, "linear": linear_axis}
    return Panel(
        title=f"{array.title}, %" if percent else ", ".join(filter(None, (array.title, array.unit))),
        x=named_axis(names, room=0.3),
        y=_percent_axis(drawn) if percent else scales[array.scale]("", drawn),
        marks=tuple(marks),
    )


def _percent_axis(values: list[Floats]) -> Axis:
    top = max([1.0, *(1.1 * float(np.nanmax(each)) for each in values if np.isfinite(each).any())])
    return Axis(limits=(-0.04 * top, top))
