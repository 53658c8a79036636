"""The figure of how each layer's gradient norm is distributed over single steps."""

import numpy as np

from gpt.records.formatting import count, listed, short
from gpt.report.figures.catalogue import TRAINING, Entry, View
from gpt.report.figures.series import beside, lacking, log_axis, named_axis, names_of_all
from gpt.report.figures.spec import Bars, Figure, Floats, Mark, Panel, Points, variant


@Entry("gradient-distribution", "How the gradient norms of each layer are distributed", TRAINING, 30,
       "Not recorded: no run without failing kept its layers' gradient norms.")  # fmt: skip
def gradient_distribution(view: View) -> Figure | None:
    """Quantiles of each layer's gradient norm over the steps after warm-up, variants side by side."""
    kept = [
        (i, each, norms) for i, each in enumerate(view.setting_findings.variants) if (norms := each.gradient_quantiles)
    ]
    names = names_of_all([each.layers for _, each, _ in kept])
    marks: list[Mark] = []
    held: list[Floats] = []
    for place, (index, each, norms) in enumerate(kept):
        quantiles_GQ = np.array(norms.by_layer)
        there = np.flatnonzero((quantiles_GQ > 0).all(axis=1))
        low, lower, middle, upper, high = quantiles_GQ[there].T
        first, layers, color = np.array(norms.first_step)[there], [each.layers[g] for g in there], variant(index)
        x = np.array([names.index(name) for name in layers]) + beside(place, len(kept))
        words = [
            f"{each.label}, {name}: median {short(q[2])}, middle half {short(q[1])} to {short(q[3])}, "
            f"90 % {short(q[0])} to {short(q[4])}"
            for name, q in zip(layers, quantiles_GQ[there], strict=True)
        ]
        at_first = [f"{each.label}, {name}, first step: {short(f)}" for name, f in zip(layers, first, strict=True)]
        marks += [
            Bars(at=x, low=low, high=high, color=color, width=1.4),
            Bars(at=x, low=lower, high=upper, color=color, width=8, opacity=0.45),
            Points(x=x, y=middle, color=color, label=each.label, words=words, size=6),
            Points(x=x, y=first, color=color, label=f"{each.label}, first step", words=at_first, size=6, filled=False),
        ]
        held += [low, high, first]
    if not any(len(values) for values in held):
        return None
    over = [f"{count(len(view.setting.groups[i].survivors), 'run')} with `{each.label}`" for i, each, _ in kept]
    return Figure(
        caption="Before clipping, over the steps after warm-up, on a logarithmic axis: full marks are medians, thick "
        "bars hold the middle half of the steps, thin ones 90 %; a long upper arm is a layer with bursts. Open marks "
        f"are the first step, before any update. Means over {listed(over)}."
        f"{lacking({each.label: each.layers for _, each, _ in kept})}",
        panels=[Panel(x=named_axis(names), y=log_axis("gradient norm of the layer", held), marks=marks, closest=True)],
        height=2.9,
    )
