"""The figure of how each layer's gradient norm is distributed over single steps."""

import numpy as np

from gpt.records.formatting import count, listed, short
from gpt.report.figures.catalogue import TRAINING, View, figure
from gpt.report.figures.series import beside, lacking, log_axis, named_axis, names_of_all
from gpt.report.figures.spec import Bars, Figure, Mark, Panel, Points, variant


@figure("gradient-distribution", "How the gradient norms of each layer are distributed", TRAINING, 30,
        "Not recorded: no run without divergence kept its layers' gradient norms.")  # fmt: skip
def gradient_distribution(view: View) -> Figure | None:
    """Quantiles of each layer's gradient norm over the steps after warm-up, variants side by side."""
    drawn = [(i, found, found.gradient_quantiles) for i, found in enumerate(view.found.variants)]
    names = names_of_all([found.layers for _, found, norms in drawn if norms])
    marks: list[Mark] = []
    over, shown = [], []
    kept = [each for each in drawn if each[2]]
    for place, (index, found, norms) in enumerate(kept):
        assert norms is not None
        quantiles_GQ = np.array(norms.by_layer)
        layers = np.flatnonzero((quantiles_GQ > 0).all(axis=1))
        low, lower, middle, upper, high = quantiles_GQ[layers].T
        first = np.array(norms.first_step)[layers]
        x = np.array([names.index(found.layers[g]) for g in layers]) + beside(place, len(kept))
        color = variant(index)
        words = tuple(
            f"{found.label}, {found.layers[g]}: median {short(quantiles_GQ[g, 2])}, middle half "
            f"{short(quantiles_GQ[g, 1])} to {short(quantiles_GQ[g, 3])}, 90 % {short(quantiles_GQ[g, 0])} to "
            f"{short(quantiles_GQ[g, 4])}"
            for g in layers
        )
        at_first = tuple(f"{found.label}, {found.layers[g]}, first step: {short(norms.first_step[g])}" for g in layers)
        marks += [
            Bars(at=x, low=low, high=high, color=color, width=1.4),
            Bars(at=x, low=lower, high=upper, color=color, width=8, opacity=0.45),
            Points(x=x, y=middle, color=color, label=found.label, words=words, size=6),
            Points(x=x, y=first, color=color, label=f"{found.label}, first step", words=at_first, size=6, filled=False),
        ]
        over.append(f"{count(len(view.setting.groups[index].survivors), 'run')} with `{found.label}`")
        shown += [low, high, first]
    if not any(len(values) for values in shown):
        return None
    lacks = lacking({found.label: found.layers for _, found, _ in kept})
    y = log_axis("gradient norm of the layer", shown)
    return Figure(
        caption="Before clipping, over the steps after warm-up, on a logarithmic axis: full marks are medians, thick "
        "bars hold the middle half of the steps, thin ones 90 %; a long upper arm is a layer with bursts. Open marks "
        f"are the first step, before any update. Means over {listed(over)}.{lacks}",
        panels=(Panel(x=named_axis(names), y=y, marks=tuple(marks), closest=True),),
        height=2.9,
    )
