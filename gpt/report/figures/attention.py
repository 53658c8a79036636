"""Figures of attention in numbers: entropy over training, every head's scores, distance."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gpt.analysis.collect import HEATMAP, SettingResults
from gpt.records.even_attention import EVEN
from gpt.report.draw.png import beside, color, draw_band, draw_between, label_bottom, legend_below, marker, panels
from gpt.report.figures.by_depth import probed

SCORES = {
    "attention_entropy": "entropy, nats",
    "attention_distance": "distance looked back, characters",
    "attention_previous": "weight on the previous character",
    "attention_first": "weight on the first character",
    "attention_induction": "induction score",
    "attention_logit_max": "largest logit",
}
"""Title of each probe array's panel."""
SCORE_COLUMNS = 3


def entropy(figure: Figure, setting: SettingResults, context: int) -> None:
    """Entropy of attention over training: a panel for each layer, mean over its heads, shading from head to head."""
    groups = probed(setting, "attention_entropy")
    rows = panels(figure, groups[0][3].shape[2])
    for layer, axes in enumerate(rows):
        for index, group, steps, entropy_SNLH in groups:
            by_head_SNH = np.sort(entropy_SNLH[:, :, layer], axis=2)
            lowest, highest = by_head_SNH[:, :, [0, -1]].mean(axis=0).T
            draw_between(axes, steps, by_head_SNH.mean(axis=(0, 2)), lowest, highest, color(index), group.label,
                         marker=marker(index), markersize=3)  # fmt: skip
        axes.axhline(EVEN["attention_entropy"](context), color="#777777", linewidth=0.9, linestyle=(0, (4, 3)),
                     label="even attention")  # fmt: skip
        axes.set_title(f"layer {layer}")
        axes.set_ylim(bottom=0)
    label_bottom(rows, "step")
    rows[0].set_ylabel("entropy of attention, nats")
    legend_below(figure, rows[0])


def scored(setting: SettingResults) -> list[str]:
    """Names of the arrays (L, H) that were recorded."""
    return [name for name in SCORES if probed(setting, name)]


def scores(figure: Figure, setting: SettingResults, context: int) -> None:
    """Every head of every run at the last probed step, layer by layer; lines join the means over heads and runs."""
    names = scored(setting)
    rows = panels(figure, len(names), min(SCORE_COLUMNS, len(names)), sharey=False)
    for axes, name in zip(rows, names, strict=True):
        groups = probed(setting, name)
        for place, (index, group, _, values_SNLH) in enumerate(groups):
            last_LSH = values_SNLH[:, -1].swapaxes(0, 1)
            at = np.arange(len(last_LSH)) + beside(place, len(groups))
            heads = last_LSH.reshape(len(last_LSH), -1)
            spread = at[:, None] + beside(0, len(groups)) * np.linspace(-0.3, 0.3, heads.shape[1])
            axes.plot(spread.ravel(), heads.ravel(), marker=marker(index), markersize=2.6, alpha=0.3, linestyle="",
                      color=color(index))  # fmt: skip
            axes.plot(at, heads.mean(axis=1), color=color(index), marker=marker(index), markersize=6,
                      markeredgecolor="white", label=group.label)  # fmt: skip
        if name in EVEN:
            axes.axhline(EVEN[name](context), color="#777777", linewidth=0.9, linestyle=(0, (4, 3)),
                         label="even attention")  # fmt: skip
        axes.set_title(SCORES[name])
        axes.set_xticks(range(len(heads)))
        axes.set_ylim(bottom=0)
        axes.grid(visible=False, axis="x")
    for axes in rows[-min(SCORE_COLUMNS, len(rows)) :]:
        axes.set_xlabel("layer")
        axes.tick_params(axis="x", labelbottom=True)
    legend_below(figure, *rows)


def distance(figure: Figure, setting: SettingResults) -> None:
    """Mean attention weight by how many characters back it goes, layer by layer."""
    groups = probed(setting, HEATMAP)
    layers = groups[0][3].shape[2]
    rows = panels(figure, layers)
    for index, group, _, weights_SNLHTU in groups:
        weights_SLTU = weights_SNLHTU[:, -1].mean(axis=2)
        size = weights_SLTU.shape[-1]
        half = size // 2
        back = np.arange(half)
        at = np.arange(half, size)
        by_distance = np.stack([weights_SLTU[:, :, at, at - d].mean(axis=2) for d in back], axis=2)
        for layer, axes in enumerate(rows):
            draw_band(axes, back, by_distance[:, layer], color(index), group.label)
    for layer, axes in enumerate(rows):
        axes.set_title(f"layer {layer}")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    label_bottom(rows, "characters back")
    rows[0].set_ylabel("mean attention weight")
    legend_below(figure, rows[0])
