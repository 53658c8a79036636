"""Figures of the probes' arrays: residual stream, updates, attention."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy
from numpy.typing import NDArray

from gpt.records.schema import even_entropy
from gpt.report.style import (
    WIDTH,
    Floats,
    color,
    draw_band,
    label_bottom,
    layer_colors,
    legend_below,
    log_axis,
    marker,
    panels,
)
from gpt.study.collect import HEATMAP, BlockResults, Group

FULL = 0.5
"""attention weight of the darkest colour"""
GAP = 2
"""empty cells between two heatmaps"""
ATTENTION_WORDS, HEADS_WORDS = 0.55, 0.85
"""inches under the images of either figure"""
BETWEEN = 0.15
"""space between two images, in image widths"""
VISIBLE = {"\n": "↵", " ": "␣", "\t": "→"}


def probed(block: BlockResults, name: str) -> list[tuple[int, Group, NDArray[np.int64], Floats]]:
    """Variants whose shown runs all have a probe array: index, variant, steps (N,), values (S, N, ...)."""
    found = []
    for index, group in enumerate(block.groups):
        arrays = [cell.probes[name] for cell in group.shown if name in cell.probes]
        if arrays:
            length = min(len(steps) for steps, _ in arrays)
            found.append((index, group, arrays[0][0][:length], np.stack([values[:length] for _, values in arrays])))
    return found


def residual(figure: Figure, block: BlockResults) -> None:
    """Root mean square of the residual stream by layer, before and after training."""
    axes = figure.subplots()
    groups = probed(block, "residual_rms")
    lowest, highest = np.inf, 0.0
    for index, group, _, rms_SNL in groups:
        layers = np.arange(rms_SNL.shape[2])
        look: dict[str, Any] = {"marker": marker(index), "markersize": 5}
        draw_band(axes, layers, rms_SNL[:, 0], color(index), f"{group.label}, before training", log=True,
                  linestyle=(0, (4, 2)), markerfacecolor="white", **look)  # fmt: skip
        draw_band(axes, layers, rms_SNL[:, -1], color(index), f"{group.label}, after", log=True, **look)
        lowest, highest = min(lowest, rms_SNL.min()), max(highest, rms_SNL.max())
    axes.set_xticks(layers, groups[0][1].shown[0].run["layers"][: len(layers)])
    axes.axhline(1, color="#777777", linewidth=0.9, linestyle=":")
    axes.set_ylabel("root mean square of the stream")
    axes.set_xlabel("measured after")
    log_axis(axes, lowest, highest)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def updates(figure: Figure, block: BlockResults) -> None:
    """Size of an update relative to the weights it changes, layer by layer, over training."""
    groups = probed(block, "update_ratio")
    rows = panels(figure, len(groups))
    lowest, highest = np.inf, 0.0
    for axes, (_, group, steps, ratio_SNL) in zip(rows, groups, strict=True):
        names = group.shown[0].run["layers"]
        for layer, (name, shade) in enumerate(zip(names, layer_colors(len(names)), strict=True)):
            ratio_SN = ratio_SNL[:, :, layer]
            if np.isfinite(ratio_SN).all() and (ratio_SN > 0).all():
                draw_band(axes, steps, ratio_SN, shade, name, log=True, marker="o", markersize=3)
                lowest, highest = min(lowest, ratio_SN.min()), max(highest, ratio_SN.max())
        axes.set_title(f"{group.label}, {group.shown_runs}")
    label_bottom(rows, "step")
    rows[0].set_ylabel("update / weight")
    log_axis(rows[0], lowest, highest)
    legend_below(figure, max(rows, key=lambda axes: len(axes.lines)))


def entropy(figure: Figure, block: BlockResults, context: int) -> None:
    """Entropy of attention, mean over a block's heads, over training."""
    groups = probed(block, "attention_entropy")
    rows = panels(figure, len(groups))
    for axes, (_, group, steps, entropy_SNLH) in zip(rows, groups, strict=True):
        layers = entropy_SNLH.shape[2]
        for layer, shade in enumerate(layer_colors(layers)):
            draw_band(axes, steps, entropy_SNLH[:, :, layer].mean(axis=2), shade, f"block {layer}",
                      marker="o", markersize=3)  # fmt: skip
        axes.axhline(even_entropy(context), color="#777777", linewidth=0.9, linestyle=(0, (4, 3)),
                     label="even attention")  # fmt: skip
        axes.set_title(f"{group.label}, {group.shown_runs}")
        axes.set_ylim(bottom=0)
    label_bottom(rows, "step")
    rows[0].set_ylabel("entropy of attention, nats")
    legend_below(figure, rows[0])


def heads(figure: Figure, block: BlockResults) -> None:
    """Every head's attention on the probe text at the last probed step, mean over seeds: layers down, heads across."""
    groups = probed(block, HEATMAP)
    rows = _image_panels(figure, len(groups), HEADS_WORDS)
    for place, (axes, (_, group, _, weights_SNLHTU)) in enumerate(zip(rows, groups, strict=True)):
        mean_LHTU = weights_SNLHTU[:, -1].mean(axis=0)
        layers, heads, size, _ = mean_LHTU.shape
        mosaic = np.full((layers * (size + GAP) - GAP, heads * (size + GAP) - GAP), np.nan)
        for layer in range(layers):
            for head in range(heads):
                y, x = layer * (size + GAP), head * (size + GAP)
                mosaic[y : y + size, x : x + size] = _past(mean_LHTU[layer, head])
        image = _image(axes, mosaic)
        centers = (size - 1) / 2 + (size + GAP) * np.arange(max(layers, heads))
        axes.set_xticks(centers[:heads], [f"head {i}" for i in range(heads)])
        first_column = place % image_columns(len(groups)) == 0
        axes.set_yticks(centers[:layers], [f"block {i}" if first_column else "" for i in range(layers)])
        axes.set_title(f"{group.label}, {group.shown_runs}")
    bar = figure.add_axes((0.35, 0.5 / figure.get_figheight(), 0.3, 0.12 / figure.get_figheight()))
    figure.colorbar(image, cax=bar, orientation="horizontal", extend="max", label="attention weight")


def attention(figure: Figure, block: BlockResults) -> None:
    """The same, mean over blocks and heads too, with the text on the axes."""
    groups = probed(block, HEATMAP)
    rows = _image_panels(figure, len(groups), ATTENTION_WORDS)
    inches = figure.get_figwidth() / image_columns(len(groups))
    for axes, (_, group, _, weights_SNLHTU) in zip(rows, groups, strict=True):
        mean_TU = weights_SNLHTU[:, -1].mean(axis=(0, 1, 2))
        _image(axes, _past(mean_TU))
        axes.set_xticks([])
        axes.set_yticks([])
        below = offset_copy(axes.transData, figure, y=-2, units="points")
        beside = offset_copy(axes.transData, figure, x=-2, units="points")
        look: dict[str, Any] = {
            "fontfamily": "DejaVu Sans Mono",
            "fontsize": min(9, 66 * inches / len(mean_TU)),
            "parse_math": False,
        }
        for place, character in enumerate(group.shown[0].run["probe_text"][: len(mean_TU)]):
            axes.text(place, len(mean_TU) - 0.5, _visible(character), ha="center", va="top", transform=below, **look)
            axes.text(-0.5, place, _visible(character), ha="right", va="center", transform=beside, **look)
        axes.set_title(f"{group.label}, {group.shown_runs}")
    for axes in rows[-image_columns(len(rows)) :]:
        axes.set_xlabel("character looked at", labelpad=18)
    rows[0].set_ylabel("character that looks", labelpad=16)


def distance(figure: Figure, block: BlockResults) -> None:
    """Mean attention weight by how many characters back it goes, block by block."""
    groups = probed(block, HEATMAP)
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
        axes.set_title(f"block {layer}")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    label_bottom(rows, "characters back")
    rows[0].set_ylabel("mean attention weight")
    legend_below(figure, rows[0])


def image_columns(count: int) -> int:
    return min(count, 3)


def image_height(count: int, below: float) -> float:
    """Inches that square images in rows need, with `below` of them for words under the last row."""
    columns = image_columns(count)
    side = min(0.925 * WIDTH / (columns + BETWEEN * (columns - 1)), 4.3)
    return -(-count // columns) * (side + 0.5) + below - 0.2


def _image_panels(figure: Figure, count: int, below: float) -> Sequence[Axes]:
    """Panels at fixed places; automatic layout would measure every character of the text several times."""
    figure.set_layout_engine("none")
    height = figure.get_figheight()
    room = {"left": 0.07, "right": 0.995, "top": 1 - 0.3 / height, "bottom": below / height, "wspace": BETWEEN}
    return panels(figure, count, image_columns(count), sharex=False, sharey=False, gridspec_kw=room)


def _past(weights_TU: Floats) -> Floats:
    """The weights with the future, which causal attention cannot see, left blank."""
    size = len(weights_TU)
    return np.where(np.tri(size, dtype=bool), weights_TU, np.nan)


def _image(axes: Axes, values: Floats) -> AxesImage:
    shades = matplotlib.colormaps["magma_r"].with_extremes(bad="white")
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0)
    return axes.imshow(values, cmap=shades, vmin=0, vmax=FULL, interpolation="nearest", aspect="equal")


def _visible(character: str) -> str:
    """The character as a tick label: blanks made visible, what the font lacks as a box."""
    shown = VISIBLE.get(character, character)
    return shown if ord(shown) in _glyphs() else "□"


def _glyphs() -> set[int]:
    from matplotlib import font_manager

    return set(font_manager.get_font(font_manager.findfont("DejaVu Sans Mono")).get_charmap())
