"""Figures of every probe array by layer and head: over training, and every head at the last probed step."""

from collections.abc import Iterable

import numpy as np

from gpt.records.catalogue import Array
from gpt.report.figures.catalogue import INSIDE, View, figure
from gpt.report.figures.series import (
    banded,
    bands_over,
    beside,
    depth,
    lacking,
    linear_axis,
    means_over,
    named_axis,
    neutral_levels,
    numbered,
    probed,
    recorded,
    rounded,
    single,
    steps_axis,
)
from gpt.report.figures.spec import Axis, Choice, Figure, Floats, Level, Line, Mark, Option, Panel, Points, variant

ABSENT = "Not recorded: the probes of attention were off."
COLUMNS = 3


def _lacking(view: View, arrays: list[Array]) -> str:
    shapes = {group.label: v_SNLH.shape[2:] for _, group, _, v_SNLH in probed(view.setting, arrays[0].name)}
    layers, heads = ({label: numbered(what, [shape[i]]) for label, shape in shapes.items()}
                     for i, what in enumerate(("layer", "head")))  # fmt: skip
    return lacking(layers) + lacking(heads)


@figure("heads-over-training", "Attention heads over training", INSIDE, 20, ABSENT)
def heads_over_training(view: View) -> Figure | None:
    """A panel for each variant, a line for each layer's mean over heads; which measure is the reader's choice."""
    if not (arrays := recorded(view.setting, ("layer", "head"))):
        return None
    options = tuple(
        Option(array.name, ", ".join(filter(None, (array.title, array.unit))), array.meaning) for array in arrays
    )
    even = "The dashed level is attention spread evenly. " if any(array.neutral_title for array in arrays) else ""
    return Figure(
        caption="Thick: mean over a layer's heads. Thin: single heads of the first run, dark near the input. "
        f"{even}{bands_over(view.setting)}{_lacking(view, arrays)}",
        panels=tuple(panel for array in arrays for panel in _over_training(view, array)),
        choices=(Choice(name="measure", label="Measure", options=options, default=arrays[0].name),),
    )


def _over_training(view: View, array: Array) -> list[Panel]:
    groups = probed(view.setting, array.name)
    names = numbered("layer", [values_SNLH.shape[2] for *_, values_SNLH in groups])
    of_groups: list[list[Mark]] = []
    for _, _, steps, values_SNLH in groups:
        lines: list[Line] = []
        for layer in range(values_SNLH.shape[2]):
            color, first_HN = depth(names[layer], names), values_SNLH[0, :, layer].T
            lines += [single(steps, head_N, color, opacity=0.6) for head_N in first_HN]
            lines.append(banded(steps, values_SNLH[:, :, layer].mean(axis=2), color, names[layer], width=2.6))
        of_groups.append([*lines, *neutral_levels(view.setting, array)])
    y = _from_zero(array.title, [m for marks in of_groups for m in marks])
    return [
        Panel(title=f"{group.label}, {group.shown_runs}", x=steps_axis(), y=y, marks=tuple(marks), variant=index,
              when={"measure": array.name})
        for (index, group, _, _), marks in zip(groups, of_groups, strict=True)
    ]  # fmt: skip


def _from_zero(label: str, marks: Iterable[Mark]) -> Axis:
    drawn: list[Floats | float] = []
    for mark in marks:
        if isinstance(mark, Line | Points):
            drawn.append(mark.y)
        elif isinstance(mark, Level):
            drawn.append(mark.at)
    return linear_axis(label, drawn, start=0)


@figure("scores", "What each head does", INSIDE, 30, ABSENT)
def scores(view: View) -> Figure | None:
    """Every head of every run at the last probed step, layer by layer; lines join the means over heads and runs."""
    if not (arrays := recorded(view.setting, ("layer", "head"))):
        return None
    return Figure(
        caption="At the last probed step: small marks are single heads of single runs, lines join the means over heads "
        "and runs. Heads are not matched between runs, so look at the spread: which variants, and which depth, have "
        "heads of a kind at all. An induction head finds the last occurrence of a character in repeated random text "
        "and looks at what followed it (Olsson et al. 2022). The dashed level is attention spread evenly. "
        f"{means_over(view.setting)}.{_lacking(view, arrays)}",
        panels=tuple(_every_head(view, array) for array in arrays),
        columns=COLUMNS,
        height=2.3,
    )


def _every_head(view: View, array: Array) -> Panel:
    groups = probed(view.setting, array.name)
    marks: list[Mark] = []
    for place, (index, group, _, values_SNLH) in enumerate(groups):
        last_LSH = rounded(values_SNLH[:, -1].swapaxes(0, 1))
        layers, runs, heads = last_LSH.shape
        at = np.arange(layers) + beside(place, len(groups))
        spread = 0.6 / (2 * len(groups)) * np.linspace(-0.5, 0.5, runs * heads) if runs * heads > 1 else np.zeros(1)
        words = tuple(
            f"{group.label}, layer {layer}, head {head}: {last_LSH[layer, run, head]:.3g}"
            for layer in range(layers) for run in range(runs) for head in range(heads)
        )  # fmt: skip
        color = variant(index)
        marks.append(Points(x=(at[:, None] + spread).ravel(), y=last_LSH.ravel(), color=color, words=words, size=2.6,
                            opacity=0.4))  # fmt: skip
        marks.append(Line(x=at, y=rounded(last_LSH.mean(axis=(1, 2))), color=color, label=group.label, markers=True))
    marks += neutral_levels(view.setting, array)
    names = [str(layer) for layer in range(max(values_SNLH.shape[2] for *_, values_SNLH in groups))]
    return Panel(
        title=", ".join(filter(None, (array.title, array.unit))),
        x=named_axis(names, "layer"),
        y=_from_zero("", marks),
        marks=tuple(marks),
        closest=True,
    )
