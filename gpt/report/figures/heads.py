"""Figures of every probe array by layer and head: over training, and every head at the last probed step."""

import numpy as np

from gpt.records.catalogue import Array
from gpt.report.figures import series
from gpt.report.figures.catalogue import INSIDE, Entry, View
from gpt.report.figures.spec import Figure, Line, Mark, Panel, Points, variant

ABSENT = "Not recorded: the probes of attention were off."
AXES = ("layer", "head")


@Entry("heads-over-training", "Attention heads over training", INSIDE, 20, ABSENT)
def heads_over_training(view: View) -> Figure | None:
    """A panel for each variant, a line for each layer's mean over heads; which measure is the reader's choice."""
    arrays = series.recorded(view.setting, AXES)
    return Figure(
        caption="Thick: mean over a layer's heads. Thin: single heads of the first run, dark near the input. "
        f"{series.bands_over(view.setting)}{series.lacking_heads(view.setting, arrays[0].name)}",
        panels=[panel for array in arrays for panel in _over_training(view, array)],
        choices=[series.measures(arrays)],
    ) if arrays else None  # fmt: skip


def _over_training(view: View, array: Array) -> list[Panel]:
    groups, levels = series.probed(view.setting, array.name), series.neutral_levels(view.setting, array)
    names = series.numbered("layer", max(values_SNLH.shape[2] for *_, values_SNLH in groups))
    y = series.linear_axis(array.title, [*(v_SNLH for *_, v_SNLH in groups), *(level.at for level in levels)], start=0)
    panels = []
    for index, group, steps, values_SNLH in groups:
        marks: list[Mark] = []
        for layer, name in enumerate(names[: values_SNLH.shape[2]]):
            color = series.depth(name, names)
            marks += [series.single(steps, head_N, color, opacity=0.6) for head_N in values_SNLH[0, :, layer].T]
            marks.append(series.banded(steps, values_SNLH[:, :, layer].mean(axis=2), color, name, width=2.6))
        title, when = f"{group.label}, {group.shown_runs}", {"measure": array.name}
        panels.append(Panel(title=title, x=series.STEPS, y=y, marks=[*marks, *levels], variant=index, when=when))
    return panels


@Entry("scores", "What each head does", INSIDE, 30, ABSENT)
def scores(view: View) -> Figure | None:
    """Every head of every run at the last probed step, layer by layer; lines join the means over heads and runs."""
    arrays = series.recorded(view.setting, AXES)
    return Figure(
        caption="At the last probed step: small marks are single heads of single runs, lines join the means over heads "
        "and runs. Heads are not matched between runs, so look at the spread: which variants, and which depth, have "
        "heads of a kind at all. An induction head finds the last occurrence of a character in repeated random text "
        "and looks at what followed it (Olsson et al. 2022). The dashed level is attention spread evenly. "
        f"{series.means_over(view.setting)}.{series.lacking_heads(view.setting, arrays[0].name)}",
        panels=[_every_head(view, array) for array in arrays],
        columns=3,
        height=2.3,
    ) if arrays else None  # fmt: skip


def _every_head(view: View, array: Array) -> Panel:
    groups, levels = series.probed(view.setting, array.name), series.neutral_levels(view.setting, array)
    marks: list[Mark] = []
    for place, (index, group, _, values_SNLH) in enumerate(groups):
        last_LSH = series.rounded(values_SNLH[:, -1].swapaxes(0, 1))
        layers, runs, heads = last_LSH.shape
        at = np.arange(layers) + series.beside(place, len(groups))
        x = [series.scattered(middle, runs * heads, 0.3 / len(groups)) for middle in at]
        words = [
            f"{group.label}, layer {layer}, head {head}: {last_LSH[layer, run, head]:.3g}"
            for layer, run, head in np.ndindex(last_LSH.shape)
        ]
        color, means = variant(index), series.rounded(last_LSH.mean(axis=(1, 2)))
        marks.append(Points(x=np.ravel(x), y=last_LSH.ravel(), color=color, words=words, size=3, opacity=0.5))
        marks.append(Line(x=at, y=means, color=color, label=group.label, markers=True))
    names = [str(layer) for layer in range(max(values_SNLH.shape[2] for *_, values_SNLH in groups))]
    y = series.linear_axis(
        series.unit(array), [*(v_SNLH[:, -1] for *_, v_SNLH in groups), *(level.at for level in levels)], start=0
    )
    return Panel(title=array.title, x=series.named_axis(names, "layer"), y=y, marks=[*marks, *levels], closest=True)
