"""The figure of clipping over training."""

import numpy as np

from gpt.records.schema import CLIP_SCALE
from gpt.report.figures.catalogue import TRAINING, View, figure
from gpt.report.figures.series import TRAIN_WINDOWS, banded, bands_over, drawn_groups, stacked, steps_axis, windows
from gpt.report.figures.spec import Axis, Figure, Line, Panel, variant


@figure("clipping", "Clipping during training", TRAINING, 50,
        "Not recorded: no run that is shown kept its clip factors.")  # fmt: skip
def clipping(view: View) -> Figure | None:
    """Share of steps whose gradient was scaled down, and by how much."""
    shares: list[Line] = []
    factors: list[Line] = []
    for index, group in drawn_groups(view.setting):
        if (over := stacked(group.shown, CLIP_SCALE)) is None:
            continue
        steps, scale_SN = over
        for lines, values_SN in ((shares, 100 * (scale_SN < 1).astype(float)), (factors, scale_SN)):
            ends, means_MS = windows(steps, values_SN.T, TRAIN_WINDOWS // 2)
            lines.append(banded(ends, means_MS.T, variant(index), group.label, markers=True))
    if not shares:
        return None
    lowest = min(float(np.nanmin(line.y)) for line in factors)
    panels = (
        Panel(title="steps whose gradient was scaled down, %", x=steps_axis(), y=Axis(limits=(-4, 104)),
              marks=tuple(shares)),
        Panel(title="mean factor the gradient was multiplied by", x=steps_axis(),
              y=Axis(limits=(min(0.95, lowest - 0.05), 1.03)), marks=tuple(factors)),
    )  # fmt: skip
    return Figure(
        caption="Left: how often the gradient was scaled down, in windows of steps. Right: by what factor on average, "
        f"steps that were left alone counting as 1. {bands_over(view.setting)}",
        panels=panels,
    )
