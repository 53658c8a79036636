"""The figures of one setting, each with what to see in it."""

from collections.abc import Callable, Iterator

from matplotlib.figure import Figure

from gpt.analysis.collect import HEATMAP, SettingResults
from gpt.analysis.findings import SettingFindings, StudyFindings
from gpt.records.formatting import count, listed
from gpt.report.draw.png import panel_rows
from gpt.report.figures import attention, gradients, heatmaps, training
from gpt.report.figures import by_depth as layers
from gpt.report.figures import context_use as long_range
from gpt.report.figures.activations import activations, recorded

Plan = tuple[str, str, str, Callable[[Figure], None], float]
"""name, title, caption, what draws it, and its height in inches"""


def figures(setting: SettingResults, found: SettingFindings, study: StudyFindings, context: int) -> Iterator[Plan]:
    """Every figure that the setting's finished runs give something to, most telling first.

    Args:
        found: findings of the setting.
        study: what the findings say of the study.
        context: positions of a probed window.
    """
    runs = listed([f"{g.shown_runs} with `{g.label}`" for g in setting.groups])
    lost = any(run.diverged for g in setting.groups for run in g.runs)
    beside = "; where a variant has runs that did not diverge, those that did are left out of its mean" if lost else ""
    means = f"Means are over {runs}{beside}"
    bands = f"{means}; bands are 95 % t intervals of the mean."
    yield _loss(setting, study, bands, lost)
    yield from _of_gradients(setting, found, bands)
    yield from _of_long_range(setting, found)
    yield from _of_layers(setting, bands)
    yield from _of_attention(setting, context, means, bands)
    yield from _of_heatmaps(setting, runs)


def _loss(setting: SettingResults, study: StudyFindings, bands: str, lost: bool) -> Plan:
    matters = study.smallest_effect if study.metric.name.startswith("val/loss.") else None
    return (
        "loss",
        "Loss during training",
        "Thin lines are single runs, thick ones means; the dashed level is that of a model that knows only how "
        "frequent each character is. The right panel is the paired difference of the validation loss from "
        f"`{setting.groups[0].label}`: below zero, the variant is ahead"
        + ("; grey is too small to matter. " if matters else ". ")
        + f"{bands} Training losses are averaged over windows of steps, and the axes cut off the first steps."
        + (" Broken lines that end in a cross are diverged runs." if lost else ""),
        lambda figure: training.loss(figure, setting, matters),
        3.3,
    )


def _of_gradients(setting: SettingResults, found: SettingFindings, bands: str) -> Iterator[Plan]:
    yield (
        "gradients",
        "Gradient norm of each layer",
        f"Before clipping, on a logarithmic axis that all panels share: lines far apart are layers that learn from "
        f"gradients of very different size. Lines are geometric means over windows of steps. {bands}"
        + gradients.left_out(setting),
        lambda figure: gradients.over_training(figure, setting),
        2.9 * panel_rows(len(training.drawn_groups(setting))),
    )
    quantiles = [
        f"{count(len(group.survivors), 'run')} with `{group.label}`"
        for group, variant in zip(setting.groups, found.variants, strict=True)
        if variant.gradient_quantiles
    ]
    if quantiles:
        yield (
            "gradient-distribution",
            "How the gradient norms of each layer are distributed",
            "Before clipping, over the steps after warm-up, on a logarithmic axis: full marks are medians, thick bars "
            "hold the middle half of the steps, thin ones 90 %. Open marks are the first step, before any update. "
            f"Means over {listed(quantiles)}.",
            lambda figure: gradients.distribution(figure, found),
            3.3,
        )
    yield (
        "clipping",
        "Clipping during training",
        f"Left: how often the gradient was scaled down, in windows of steps. Right: by what factor on average, steps "
        f"that were left alone counting as 1. {bands}",
        lambda figure: training.clipping(figure, setting),
        2.9,
    )
    if measured := training.noise_measured(setting):
        over = listed([f"{count(len(estimates), 'run')} with `{group.label}`" for _, group, estimates in measured])
        yield (
            "noise",
            "Gradient noise scale during training",
            f"In sequences, on a logarithmic axis: doubling a batch well below it saves nearly half the steps, "
            f"doubling one well above it hardly any. Windows of steps; means over {over}, with 95 % t intervals, both "
            f"taken of the inverse and turned back: a line breaks where the noise scale is not determined, and a band "
            f"that leaves the axes at the top may have no upper end.",
            lambda figure: training.noise(figure, measured),
            3.0,
        )


def _of_long_range(setting: SettingResults, found: SettingFindings) -> Iterator[Plan]:
    if drawn := long_range.measured(setting, found):
        over = listed([f"{count(arrays.n, 'run')} with `{g.label}`" for _, g, _, arrays in drawn])
        yield (
            "long-range",
            "How far back the trained model makes use of the text",
            f"On validation text. Left: loss at each position of a window, averaged over neighbouring positions; right "
            f"of the dashed line the model reads windows longer than any that it was trained on. Middle: loss on the "
            f"same characters when the model sees only the last few before each; where the line is flat, more context "
            f"does not help. Right: share of the gradient of the last loss with respect to the embeddings that falls "
            f"on the nearest characters; the mark is where half of it is reached. Means over {over}, with 95 % t "
            f"intervals.",
            lambda figure: long_range.long_range(figure, drawn),
            3.2,
        )


def _of_layers(setting: SettingResults, bands: str) -> Iterator[Plan]:
    if names := recorded(setting):
        yield (
            "activations",
            "Activations by depth",
            f"Before training (broken lines, open marks) and after. The dotted level of the root mean square is 1, "
            f"where normalisation puts it; an excess kurtosis above 0 means that few values are far larger than the "
            f"others. Dead units stay below 1 % of their layer's size on all probed text. {bands}",
            lambda figure: activations(figure, setting),
            3.0 if len(names) < 3 else 5.2,
        )
    if layers.probed(setting, "update_ratio"):
        yield (
            "updates",
            "Size of an update relative to the weights",
            f"Norm of one step's change of a layer over the norm of its weights, on a logarithmic axis that all panels "
            f"share. {bands}",
            lambda figure: layers.updates(figure, setting),
            2.9 * panel_rows(len(training.drawn_groups(setting))),
        )


def _of_attention(setting: SettingResults, context: int, means: str, bands: str) -> Iterator[Plan]:
    if probed := layers.probed(setting, "attention_entropy"):
        yield (
            "entropy",
            "How spread out attention is",
            f"Entropy of the attention weights on fixed validation text, layer by layer: low, a head looks at few "
            f"characters; at the dashed level it looks evenly at all {context}. Lines are means over a layer's heads, "
            f"the shading reaches from its lowest to its highest head. {means}.",
            lambda figure: attention.entropy(figure, setting, context),
            0.5 + 2.3 * panel_rows(probed[0][3].shape[2]),
        )
    if len(names := attention.scored(setting)) > 1:
        yield (
            "scores",
            "What each head does",
            f"At the last probed step: small marks are single heads of single runs, lines join the means over heads "
            f"and runs. An induction head finds the last occurrence of a character in repeated random text and looks "
            f"at what followed it (Olsson et al. 2022). The dashed level is attention spread evenly. {means}.",
            lambda figure: attention.scores(figure, setting, context),
            0.5 + 2.2 * -(-len(names) // attention.SCORE_COLUMNS),
        )
    if shown := layers.probed(setting, HEATMAP):
        yield (
            "distance",
            "How far back attention looks",
            f"Mean weight that a position gives to the character so many places back, 0 being itself, on the "
            f"first characters of the validation text at step {int(shown[0][2][-1])}, for the later half of them. "
            f"{bands}",
            lambda figure: attention.distance(figure, setting),
            2.6 * panel_rows(shown[0][3].shape[2]),
        )


def _of_heatmaps(setting: SettingResults, runs: str) -> Iterator[Plan]:
    if not (shown := layers.probed(setting, HEATMAP)):
        return
    where = f"On the first characters of the validation text at step {int(shown[0][2][-1])}, mean over {runs}"
    yield (
        "attention",
        "Attention, all heads together",
        f"Row: the position that looks; column: what it looks at; darker is more, black is {heatmaps.FULL:g} or "
        f"above; the blank half is the future. {where}, all heads and all layers.",
        lambda figure: heatmaps.attention(figure, setting),
        heatmaps.image_height(len(shown), heatmaps.ATTENTION_WORDS),
    )
    if any(len(steps) > 1 for _, _, steps, _ in shown):
        columns = heatmaps.STEPS_KEPT
        yield (
            "attention-over-training",
            "How attention takes its shape",
            f"The same text and colours before training, early, and at the end: mean over {runs}, all heads and all "
            "layers.",
            lambda figure: heatmaps.over_training(figure, setting),
            heatmaps.image_height(columns * len(shown), heatmaps.TRAINING_WORDS, columns),
        )
    yield (
        "heads",
        "Attention, head by head",
        f"The same text and colours, each square one head; heads are not matched between seeds or variants. {where}.",
        lambda figure: heatmaps.heads(figure, setting),
        heatmaps.image_height(len(shown), heatmaps.HEADS_WORDS),
    )
