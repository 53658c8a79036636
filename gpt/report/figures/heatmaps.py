"""Figures of attention heatmaps: all heads together, over training, and head by head."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.transforms import offset_copy

from gpt.analysis.collect import HEATMAP, SettingResults
from gpt.report.draw.png import WIDTH, Floats, panels
from gpt.report.figures.by_depth import probed

FULL = 0.5
"""attention weight of the darkest colour"""
GAP = 2
"""empty runs between two heatmaps"""
ATTENTION_WORDS, HEADS_WORDS, TRAINING_WORDS = 0.55, 0.85, 0.75
"""inches under the images of each figure"""
STEPS_KEPT = 3
"""see `gpt.analysis.collect.heatmap_steps`"""
BETWEEN = 0.15
"""space between two images, in image widths"""
VISIBLE = {"\n": "↵", " ": "␣", "\t": "→"}


def heads(figure: Figure, setting: SettingResults) -> None:
    """Every head's attention on the probe text at the last probed step, mean over seeds: layers down, heads across."""
    groups = probed(setting, HEATMAP)
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
        axes.set_yticks(centers[:layers], [f"layer {i}" if first_column else "" for i in range(layers)])
        axes.set_title(f"{group.label}, {group.shown_runs}")
    _color_bar(figure, image)


def attention(figure: Figure, setting: SettingResults) -> None:
    """The same, mean over layers and heads too, with the text on the axes."""
    groups = probed(setting, HEATMAP)
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
        for place, character in enumerate(group.shown[0].info["probe_text"][: len(mean_TU)]):
            axes.text(place, len(mean_TU) - 0.5, _visible(character), ha="center", va="top", transform=below, **look)
            axes.text(-0.5, place, _visible(character), ha="right", va="center", transform=beside, **look)
        axes.set_title(f"{group.label}, {group.shown_runs}")
    for axes in rows[-image_columns(len(rows)) :]:
        axes.set_xlabel("character looked at", labelpad=18)
    rows[0].set_ylabel("character that looks", labelpad=16)


def over_training(figure: Figure, setting: SettingResults) -> None:
    """Attention, mean over layers, heads and runs: a row for each variant, a column for each kept step."""
    groups = probed(setting, HEATMAP)
    rows = _image_panels(figure, len(groups) * STEPS_KEPT, TRAINING_WORDS, STEPS_KEPT)
    for place, (_, group, steps, weights_SNLHTU) in enumerate(groups):
        mean_NTU = weights_SNLHTU.mean(axis=(0, 2, 3))
        row = rows[place * STEPS_KEPT : (place + 1) * STEPS_KEPT]
        for axes in row[len(steps) :]:
            axes.set_axis_off()
        for axes, step, mean_TU in zip(row, steps, mean_NTU, strict=False):
            image = _image(axes, _past(mean_TU))
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(f"{group.label}, step {step}" if step else f"{group.label}, before training")
    _color_bar(figure, image)


def image_columns(count: int) -> int:
    return min(count, 3)


def image_height(count: int, below: float, columns: int | None = None) -> float:
    """Inches that square images in rows need, with `below` of them for words under the last row."""
    columns = columns or image_columns(count)
    side = min(0.925 * WIDTH / (columns + BETWEEN * (columns - 1)), 4.3)
    return -(-count // columns) * (side + 0.5) + below - 0.2


def _image_panels(figure: Figure, count: int, below: float, columns: int | None = None) -> Sequence[Axes]:
    """Panels at fixed places; automatic layout would measure every character of the text several times."""
    figure.set_layout_engine("none")
    height = figure.get_figheight()
    room = {"left": 0.07, "right": 0.995, "top": 1 - 0.3 / height, "bottom": below / height, "wspace": BETWEEN}
    return panels(figure, count, columns or image_columns(count), sharex=False, sharey=False, gridspec_kw=room)


def _color_bar(figure: Figure, image: AxesImage) -> None:
    bar = figure.add_axes((0.35, 0.5 / figure.get_figheight(), 0.3, 0.12 / figure.get_figheight()))
    figure.colorbar(image, cax=bar, orientation="horizontal", extend="max", label="attention weight")


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
