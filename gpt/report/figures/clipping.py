"""The figure of clipping over training."""

import numpy as np

from gpt.records.schema import CLIP_SCALE
from gpt.report.figures.catalogue import TRAINING, Entry, View
from gpt.report.figures.series import STEPS, TRAIN_WINDOWS, banded, bands_over, drawn_groups, stacked, windows
from gpt.report.figures.spec import Axis, Figure, Line, Panel, variant


@Entry("clipping", "Clipping during training", TRAINING, 50, "Not recorded: no shown run kept its clip factors.")
def clipping(view: View) -> Figure | None:
    """Share of steps whose gradient was scaled down, and by how much."""
    shares: list[Line] = []
    factors: list[Line] = []
    for index, group in drawn_groups(view.setting):
        if (over := stacked(group.shown, CLIP_SCALE)) is not None:
            for lines, values_SN in ((shares, 100.0 * (over[1] < 1)), (factors, over[1])):
                ends, means_NS = windows(over[0], values_SN.T, TRAIN_WINDOWS // 2)
                lines.append(banded(ends, means_NS.T, variant(index), group.label, markers=True))
    lowest = min((float(np.nanmin(line.y)) for line in factors), default=0.0)
    return Figure(
        caption="Left: how often the gradient was scaled down, in windows of steps. Right: by what factor on average, "
        f"steps that were left alone counting as 1. {bands_over(view.setting)}",
        panels=[
            Panel(title="steps whose gradient was scaled down, %", x=STEPS, y=Axis(limits=(-4, 104)), marks=shares),
            Panel(title="mean factor the gradient was multiplied by", x=STEPS,
                  y=Axis(limits=(min(0.95, lowest - 0.05), 1.03)), marks=factors),
        ],
    ) if shares else None  # fmt: skip
