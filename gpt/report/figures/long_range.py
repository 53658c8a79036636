"""The figure on long-range use of context: by position, with the context cut short, and by the gradient's reach."""

import math
from dataclasses import dataclass

import numpy as np

from gpt.analysis.collect import Group
from gpt.analysis.findings import LongRange, VariantFindings
from gpt.records.formatting import count, fixed, listed
from gpt.report.figures.catalogue import CONTEXT, View, figure
from gpt.report.figures.series import banded, curve, doubling_axis, linear_axis, log_axis
from gpt.report.figures.spec import Axis, Figure, Floats, Level, Mark, Note, Panel, Points, Zone, variant

ALONE, TOGETHER = 8, 4
"""positions of a window whose losses are drawn one by one, and how many of the later ones are averaged"""


@dataclass(frozen=True)
class Measured:
    """One variant whose surviving runs were measured."""

    index: int
    group: Group
    found: VariantFindings
    means: LongRange

    def stacked(self, name: str) -> Floats:
        """(S, N) one array of every run."""
        return np.stack([run.long_range[name] for run in self.group.survivors if run.long_range is not None])


@figure("long-range", "How far back the trained model makes use of the text", CONTEXT, 10,
        "Not recorded: no run that finished without divergence measured its use of context.")  # fmt: skip
def long_range(view: View) -> Figure | None:
    pairs = zip(view.setting.groups, view.found.variants, strict=True)
    drawn = [Measured(i, g, found, found.long_range) for i, (g, found) in enumerate(pairs) if found.long_range]
    if not drawn:
        return None
    over = listed([f"{count(each.means.n, 'run')} with `{each.group.label}`" for each in drawn])
    return Figure(
        caption="On validation text. Loss by position: from the ninth on, averaged over four; in the grey zone the "
        "windows are longer than any that the model was trained on. Loss with the context cut: on the same characters "
        f"when the model sees only the last few before each; where the line is flat, more context does not help."
        f"{_cost(drawn)} Gradient: of the last loss with respect to the embeddings, the share that falls within the "
        "last characters, with marks where half of it is reached, and the share of each character by its distance. "
        f"Means over {over}, with 95 % t intervals.",
        panels=(_by_position(drawn), _cut(drawn), _reach(drawn), _by_distance(drawn)),
        columns=2,
    )


def _cost(drawn: list[Measured]) -> str:
    """`Seeing one character instead of the whole context costs 1.23 with `pre` nats.`"""
    losses = [(each.group.label, each.means.context_loss.mean) for each in drawn]
    parts = [
        f"{fixed(mean[0] - mean[-1], 2)} with `{label}`" for label, mean in losses if math.isfinite(mean[0] - mean[-1])
    ]
    return f" Seeing one character instead of the whole context costs {listed(parts)} nats." if parts else ""


def by_few_positions(loss_SX: Floats) -> tuple[Floats, Floats]:
    """Losses at the first positions one by one, then means over few: each position alone tells most of its characters.

    Returns:
        Positions, counted from 1, and losses (S, windows).
    """
    positions = loss_SX.shape[1]
    starts = np.array([*range(min(ALONE, positions)), *range(ALONE, positions, TOGETHER)])
    sizes = np.diff(np.append(starts, positions))
    return starts + (sizes + 1) / 2, np.add.reduceat(loss_SX, starts, axis=1) / sizes


def _by_position(drawn: list[Measured]) -> Panel:
    lines, means, last = [], [], 0
    for each in drawn:
        loss_SX = each.stacked("loss_by_position")
        at, means_SX = by_few_positions(loss_SX)
        lines.append(banded(at, means_SX, variant(each.index), each.group.label))
        means.append(means_SX)
        last = max(last, loss_SX.shape[1])
    context = max(each.means.context for each in drawn)
    beyond = [Zone(low=context + 0.5, high=last + 0.5, upright=True, label="never trained")] if last > context else []
    return Panel(title="loss by position in the window", x=Axis(label="position, characters", limits=(0, last + 1)),
                 y=linear_axis("nats per character", means), marks=(*beyond, *lines))  # fmt: skip


def _cut(drawn: list[Measured]) -> Panel:
    lines = []
    for each in drawn:
        loss = each.means.context_loss
        ends = (loss.mean, loss.low, loss.high)
        lines.append(curve(each.means.context_lengths, ends, variant(each.index), each.group.label, markers=True))
    y = linear_axis("nats per character", [each.stacked("context_loss") for each in drawn])
    x = doubling_axis("last characters that the model sees", max(each.means.context for each in drawn))
    return Panel(title="loss with the context cut", x=x, y=y, marks=tuple(lines))


def _reach(drawn: list[Measured]) -> Panel:
    marks: list[Mark] = [Level(at=50)]
    for row, each in enumerate(drawn):
        reach, color = each.means.reach, variant(each.index)
        ends = [100 * np.array(end, dtype=np.float64) for end in (reach.mean, reach.low, reach.high)]
        marks.append(curve(np.arange(1, each.means.context + 1), ends, color, each.group.label))
        half = each.found.secondary["median_lookback"].mean.mean
        if math.isfinite(half):
            words = f"half within {fixed(half, 1)}"
            marks.append(Points(x=np.array([half]), y=np.array([50]), color=color, size=8, words=(words,)))
            marks.append(Note(text=words, x=0.98, y=0.05 + 0.1 * row, x_share=True, y_share=True, align="right",
                              color=color))  # fmt: skip
    x = doubling_axis("last characters", max(each.means.context for each in drawn))
    return Panel(title="gradient within reach, %", x=x, y=Axis(limits=(0, 104)), marks=tuple(marks))


def _by_distance(drawn: list[Measured]) -> Panel:
    lines, shares = [], []
    for each in drawn:
        dependency_ST = each.stacked("dependency")
        total = dependency_ST.sum(axis=1, keepdims=True)
        share_ST = 100 * dependency_ST / np.where(total > 0, total, np.nan)
        back = np.arange(1, share_ST.shape[1] + 1)
        lines.append(banded(back, share_ST, variant(each.index), each.group.label, log=bool((share_ST > 0).all())))
        shares.append(lines[-1].y)
    x = doubling_axis("characters back, 1 the last one", max(each.means.context for each in drawn))
    y = log_axis("share of the gradient, %", shares)
    return Panel(title="gradient by distance, %", x=x, y=y, marks=tuple(lines))
