"""The figure on long-range use of context: by position, with the context cut short, and by the gradient."""

import math
from dataclasses import dataclass

import numpy as np

from gpt.analysis.collect import Group
from gpt.analysis.variant_findings import LongRange, VariantFindings
from gpt.records.formatting import count, fixed, listed
from gpt.report.figures.catalogue import CONTEXT, Entry, View
from gpt.report.figures.series import banded, curve, doubling_axis, linear_axis, log_axis
from gpt.report.figures.spec import Axis, Color, Figure, Floats, Level, Mark, Note, Panel, Points, Zone, variant

ALONE, TOGETHER = 8, 4
"""positions of a window whose losses are drawn one by one, and how many of the later ones are averaged"""


@dataclass(frozen=True)
class Measured:
    """One variant whose surviving runs were measured."""

    color: Color
    group: Group
    findings: VariantFindings
    means: LongRange

    def stacked(self, name: str) -> Floats:
        """(S, N) one array of every run."""
        return np.stack([run.long_range[name] for run in self.group.survivors if run.long_range is not None])


@Entry("long-range", "How far back the trained model makes use of the text", CONTEXT, 10,
       "Not recorded: no run that finished without failing measured its use of context.")  # fmt: skip
def long_range(view: View) -> Figure | None:
    pairs = zip(view.setting.groups, view.setting_findings.variants, strict=True)
    drawn = [Measured(variant(i), g, f, f.long_range) for i, (g, f) in enumerate(pairs) if f.long_range]
    if not drawn:
        return None
    over = listed([f"{count(each.means.n, 'run')} with `{each.group.label}`" for each in drawn])
    costs = [(each.means.context_loss.mean[0] - each.means.context_loss.mean[-1], each.group.label) for each in drawn]
    parts = listed([f"{fixed(cost, 2)} with `{label}`" for cost, label in costs if math.isfinite(cost)])
    return Figure(
        caption="On validation text. Loss by position: from the ninth on, averaged over four; in the grey zone the "
        "windows are longer than any that the model was trained on. Loss with the context cut: on the same characters "
        "when the model sees only the last few before each; where the line is flat, more context does not help. "
        f"{f'Seeing one character instead of the whole context costs {parts} nats. ' if parts else ''}Gradient: of the "
        "last loss with respect to the embeddings, the share that falls within the last characters, with marks where "
        f"half of it is reached, and the share of each character by its distance. Means over {over}, with 95 % t "
        "intervals.",
        panels=[_by_position(drawn), _cut(drawn), _cumulative(drawn), _by_distance(drawn)],
        columns=2,
    )


def by_few_positions(loss_SX: Floats) -> tuple[Floats, Floats]:
    """Losses at the first positions one by one, then means over few: each position alone tells most of its characters.

    Returns:
        Positions, counted from 1, and losses (S, windows).
    """
    positions = loss_SX.shape[1]
    starts = np.array([*range(min(ALONE, positions)), *range(ALONE, positions, TOGETHER)])
    sizes = np.diff(np.append(starts, positions))
    return starts + (sizes + 1) / 2, np.add.reduceat(loss_SX, starts, axis=1) / sizes


def _context(drawn: list[Measured]) -> int:
    return max(each.means.context for each in drawn)


def _by_position(drawn: list[Measured]) -> Panel:
    losses = [by_few_positions(each.stacked("loss_by_position")) for each in drawn]
    lines = [banded(*loss, each.color, each.group.label) for each, loss in zip(drawn, losses, strict=True)]
    last = max(each.stacked("loss_by_position").shape[1] for each in drawn)
    beyond = Zone(low=_context(drawn) + 0.5, high=last + 0.5, upright=True, label="never trained")
    return Panel(
        title="loss by position in the window",
        x=Axis(label="position, characters", limits=(0, last + 1)),
        y=linear_axis("nats per character", [loss_SX for _, loss_SX in losses]),
        marks=[beyond, *lines] if last > _context(drawn) else lines,
    )


def _cut(drawn: list[Measured]) -> Panel:
    lines = [
        curve(each.means.context_lengths, (loss.mean, loss.low, loss.high), each.color, each.group.label, markers=True)
        for each in drawn
        for loss in [each.means.context_loss]
    ]
    y = linear_axis("nats per character", [each.stacked("context_loss") for each in drawn])
    x = doubling_axis("last characters that the model sees", _context(drawn))
    return Panel(title="loss with the context cut", x=x, y=y, marks=lines)


def _cumulative(drawn: list[Measured]) -> Panel:
    marks: list[Mark] = [Level(at=50)]
    for row, each in enumerate(drawn):
        share = each.means.cumulative_share
        ends = 100 * np.array([share.mean, share.low, share.high], dtype=np.float64)
        marks.append(curve(np.arange(1, each.means.context + 1), ends, each.color, each.group.label))
        half = each.findings.secondary["median_lookback"].mean.mean
        if math.isfinite(half):
            words = f"half within {fixed(half, 1)}"
            marks.append(Points(x=[half], y=[50], color=each.color, size=8, words=[words]))
            marks.append(Note(text=words, x=0.98, y=0.05 + 0.1 * row, x_share=True, y_share=True, align="right",
                              color=each.color))  # fmt: skip
    x = doubling_axis("last characters", _context(drawn))
    return Panel(title="gradient within reach, %", x=x, y=Axis(limits=(0, 104)), marks=marks)


def _by_distance(drawn: list[Measured]) -> Panel:
    lines = []
    for each in drawn:
        gradient_ST = each.stacked("dependency")
        total = gradient_ST.sum(axis=1, keepdims=True)
        share_ST = 100 * gradient_ST / np.where(total > 0, total, np.nan)
        back, log = np.arange(1, share_ST.shape[1] + 1), bool((share_ST > 0).all())
        lines.append(banded(back, share_ST, each.color, each.group.label, log))
    x = doubling_axis("characters back, 1 the last one", _context(drawn))
    y = log_axis("share of the gradient, %", [line.y for line in lines])
    return Panel(title="gradient by distance, %", x=x, y=y, marks=lines)
