"""Which figures a report has, and what each of them shows."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from gpt.report import layers, paired, spread, training
from gpt.report.style import panel_rows, png
from gpt.study.collect import HEATMAP, BlockResults, Results
from gpt.study.words import count, listed, slug


@dataclass(frozen=True)
class Drawn:
    """One figure of a report."""

    file: str
    """name in the folder of figures"""
    block: str
    """label of the block that it shows"""
    title: str
    caption: str
    """what to see, and over how many runs"""
    png: bytes


def draw_all(results: Results, findings: Mapping[str, Any]) -> list[Drawn]:
    """Every figure that the finished cells give something to."""
    drawn: list[Drawn] = []
    for block, found in zip(results.blocks, findings["blocks"], strict=True):
        if not training.drawn_groups(block):
            continue
        if "components" in found:
            for name, title, caption, draw, height in spread.figures(found, findings["study"]):
                drawn.append(Drawn(f"{_prefix(block)}{name}.png", block.label, title, caption, png(draw, height)))
        else:
            drawn += _draw_block(block, found, findings["study"], results.study.base.model.context)
    return drawn


def _prefix(block: BlockResults) -> str:
    return f"{slug(block.label)}-" if block.label else ""


def _draw_block(
    block: BlockResults, found: Mapping[str, Any], study: Mapping[str, Any], context: int
) -> Iterator[Drawn]:
    prefix = _prefix(block)

    def drawn(name: str, title: str, caption: str, draw: Callable[[Figure], None], height: float) -> Drawn:
        return Drawn(f"{prefix}{name}.png", block.label, title, caption, png(draw, height))

    first = block.groups[0].label
    runs = listed([f"{g.shown_runs} with `{g.label}`" for g in block.groups])
    lost = sum(cell.diverged for g in block.groups for cell in g.cells)
    beside = "; where a variant has runs that did not diverge, those that did are left out of its mean" if lost else ""
    means = f"Means are over {runs}{beside}"
    bands = f"{means}; bands are 95 % t intervals of the mean."
    matters = study["smallest_effect"] if study["metric"]["name"].startswith("val/loss.") else None
    effect = f"{study['smallest_effect']:g} {study['metric']['unit']}"
    yield drawn(
        "paired",
        "The primary metric, seed by seed",
        f"Left: each grey line joins the runs of one seed; short bars are means. Right: the difference from `{first}`, "
        f"small marks for single seeds, the large mark and bar for the mean and its 95 % t interval; the grey zone "
        f"holds differences too small to matter ({effect}). n = "
        f"{', '.join(str(len(c['seeds'])) for c in found['contrasts'])} pairs.",
        lambda figure: paired.paired(figure, found, study),
        3.0 + 0.5 * max(0, len(block.groups) - 2),
    )
    yield drawn(
        "loss",
        "Loss during training",
        "Thin lines are single runs, thick ones means; the dashed level is that of a model that knows only how "
        "frequent each character is. The right panel is the paired difference of the validation loss from "
        f"`{first}`: below zero, the variant is ahead"
        + ("; grey is too small to matter. " if matters else ". ")
        + f"{bands} Training losses are averaged over windows of steps, and the axes cut off the first steps."
        + (" Broken lines that end in a cross are diverged runs." if lost else ""),
        lambda figure: training.loss(figure, block, matters),
        3.3,
    )
    rows = 2.9 * panel_rows(len(training.drawn_groups(block)))
    yield drawn(
        "gradients",
        "Gradient norm of each layer",
        f"Before clipping, on a logarithmic axis that all panels share: lines far apart are layers that learn from "
        f"gradients of very different size. Lines are geometric means over windows of steps. {bands}",
        lambda figure: training.gradients(figure, block),
        rows,
    )
    yield drawn(
        "clipping",
        "Clipping during training",
        f"Left: how often the gradient was scaled down, in windows of steps. Right: by what factor on average, steps "
        f"that were left alone counting as 1. {bands}",
        lambda figure: training.clipping(figure, block),
        2.9,
    )
    if measured := training.noise_measured(block):
        over = listed([f"{count(len(estimates), 'run')} with `{group.label}`" for _, group, estimates in measured])
        yield drawn(
            "noise",
            "Gradient noise scale during training",
            f"In sequences, on a logarithmic axis: doubling a batch well below it saves nearly half the steps, "
            f"doubling one well above it hardly any. Windows of steps; means over {over}, with 95 % t intervals, both "
            f"taken of the inverse and turned back: a line breaks where the noise scale is not determined, and a band "
            f"that leaves the axes at the top may have no upper end.",
            lambda figure: training.noise(figure, measured),
            3.0,
        )
    if layers.probed(block, "residual_rms"):
        yield drawn(
            "residual",
            "Size of the residual stream",
            f"Root mean square after the embedding and after each block, before training (broken lines, open marks) "
            f"and after. The dotted level is 1, where normalisation puts it. {bands}",
            lambda figure: layers.residual(figure, block),
            3.0,
        )
    if layers.probed(block, "update_ratio"):
        yield drawn(
            "updates",
            "Size of an update relative to the weights",
            f"Norm of one step's change of a layer over the norm of its weights, on a logarithmic axis that all panels "
            f"share. {bands}",
            lambda figure: layers.updates(figure, block),
            rows,
        )
    if layers.probed(block, "attention_entropy"):
        yield drawn(
            "entropy",
            "How spread out attention is",
            f"Entropy of the attention weights, mean over a block's heads, on fixed validation text: low, a head looks "
            f"at few characters; at the dashed level it looks evenly at all {context}. {bands}",
            lambda figure: layers.entropy(figure, block, context),
            rows,
        )
    if shown := layers.probed(block, HEATMAP):
        step = int(shown[0][2][-1])
        where = f"On the first characters of the validation text at step {step}, mean over {runs}"
        yield drawn(
            "distance",
            "How far back attention looks",
            f"Mean weight that a position gives to the character so many places back, 0 being itself, on the "
            f"first characters of the validation text at step {step}, for the later half of them. {bands}",
            lambda figure: layers.distance(figure, block),
            2.6 * panel_rows(shown[0][3].shape[2]),
        )
        yield drawn(
            "attention",
            "Attention, all heads together",
            f"Row: the position that looks; column: what it looks at; darker is more, black is {layers.FULL:g} or "
            f"above; the blank half is the future. {where}, all heads and all blocks.",
            lambda figure: layers.attention(figure, block),
            layers.image_height(len(shown), layers.ATTENTION_WORDS),
        )
        yield drawn(
            "heads",
            "Attention, head by head",
            f"The same text and colours, each square one head; heads are not matched between seeds or variants. "
            f"{where}.",
            lambda figure: layers.heads(figure, block),
            layers.image_height(len(shown), layers.HEADS_WORDS),
        )
