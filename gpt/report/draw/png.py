"""Figures as PNG bytes that depend on the spec alone. The one module that knows matplotlib."""

import io
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import NullLocator
from matplotlib.transforms import blended_transform_factory, offset_copy
from PIL import Image, PngImagePlugin

from gpt.report.figures import spec
from gpt.report.figures.spec import BLUE_RED, COLORS, DEPTH, SHADES, Axis, Figure, Grid, Panel

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: dict[str, Any] = {"solid": "-", "dash": (0, (4, 2.5)), "dot": (0, (1.5, 1.5))}
MONO = "DejaVu Sans Mono"
HOLLOW: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 1.2}
SOFT, ZONE = "#666666", "#e6e6e6"
WIDTH = 8.6
"""inches, about the width of a README"""
DPI = 110
PALETTE = 256
"""colours of a PNG: a third of the size, and no colour moves by more than the eye forgives"""
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "path.simplify_threshold": 0.5,
    "text.parse_math": False,
}


def png(figure: Figure, key: str) -> bytes:
    """A figure at the default of its choices; no setting of the user's own leaks in.

    Args:
        key: kept in the file, see `gpt.report.draw.files`.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        canvas = draw(figure)
        agg = FigureCanvasAgg(canvas)
        agg.draw()
    info = PngImagePlugin.PngInfo()
    info.add_text("spec", key)
    stream = io.BytesIO()
    drawn = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")
    quantized = drawn.quantize(PALETTE, Image.Quantize.MAXCOVERAGE, kmeans=1)
    quantized.save(stream, "PNG", optimize=True, pnginfo=info)
    return stream.getvalue()


def draw(figure: Figure) -> Canvas:
    """The figure as matplotlib's artists."""
    panels = spec.shown(figure)
    columns = figure.columns or (len(panels) if len(panels) <= 4 else 3)
    lines = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    side = WIDTH / columns
    heights = []  # of each row of axes: a line's panels, and below them the small maps that some have
    for line in lines:
        heights.append(min(side, 4.3) if line[0].square else figure.height)
        shapes = [grid.overview.shape for grid in map(_grid, line) if grid and grid.overview is not None]
        heights.append(side * max((shape[0] / shape[1] for shape in shapes), default=0.0))
    kept = [height for height in heights if height]
    canvas = Canvas(figsize=(WIDTH, sum(kept) + 0.4), dpi=DPI, layout="constrained")
    grid = iter(canvas.subplots(len(kept), columns, squeeze=False, height_ratios=kept))
    every: list[Axes] = []
    for n, line in enumerate(lines):
        row, maps = next(grid), next(grid) if heights[2 * n + 1] else []
        for spare in [*row[len(line) :], *maps[len(line) :]]:
            spare.set_axis_off()
        for i, (axes, panel) in enumerate(zip(row, line, strict=False)):
            _panel(axes, panel, side)
            if i and panel.y.limits and panel.y == line[i - 1].y:
                axes.set_ylabel("")
                axes.tick_params(axis="y", labelleft=False)
            if n + 1 < len(lines) and i < len(lines[n + 1]) and panel.x == lines[n + 1][i].x:
                axes.set_xlabel("")
        for axes, panel in zip(maps, line, strict=False):
            _overview(axes, panel)
        every += [*row, *maps]
    _color_bar(canvas, every, panels)
    _legend(canvas, every, panels)
    return canvas


def _grid(panel: Panel) -> Grid | None:
    return next((mark for mark in panel.marks if isinstance(mark, Grid)), None)


def _panel(axes: Axes, panel: Panel, side: float) -> None:
    _axis(axes, "x", panel.x)
    _axis(axes, "y", panel.y)
    axes.set_title(_drawable(panel.title))
    for mark in panel.marks:
        MARKS[type(mark)](axes, mark)
    if panel.square:
        axes.set_aspect("equal")
        axes.spines[:].set_visible(False)
        size = min(9.0, 56 * side / max(len(panel.x.ticks or ()), 1))
        for text in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
            text.set(family=MONO, size=size, text=_drawable(text.get_text(), MONO))
        axes.tick_params(length=0, pad=1)


def _axis(axes: Axes, which: Literal["x", "y"], axis: Axis) -> None:
    if axis.scale != "linear":
        getattr(axes, f"set_{which}scale")(axis.scale, **({"linthresh": 1} if axis.scale == "symlog" else {}))
    if axis.limits:
        getattr(axes, f"set_{which}lim")(*axis.limits)
    if axis.ticks is not None:
        places, names = [place for place, _ in axis.ticks], [_drawable(name) for _, name in axis.ticks]
        getattr(axes, f"set_{which}ticks")(places, names)
        getattr(axes, f"{which}axis").set_minor_locator(NullLocator())
    getattr(axes, f"set_{which}label")(_drawable(axis.label))
    if axis.named:
        axes.grid(visible=False, axis=which)


def _line(axes: Axes, line: spec.Line) -> None:
    look: dict[str, Any] = {"color": _color(line.color), "linestyle": DASHES[line.dash]}
    if line.low is not None and line.high is not None:
        axes.fill_between(line.x, line.low, line.high, color=look["color"], alpha=0.2, linewidth=0)
    if line.markers:
        look |= {"marker": _marker(line.color), "markersize": 4.5}
        look |= {} if line.filled else HOLLOW
    if line.label:
        look |= {"label": _drawable(line.label)}
    style = "steps-post" if line.stepped else "default"
    axes.plot(line.x, line.y, linewidth=line.width, alpha=line.opacity, drawstyle=style, **look)


def _points(axes: Axes, points: spec.Points) -> None:
    marker, color = "x" if points.cross else _marker(points.color), _color(points.color)
    look: dict[str, Any] = {"label": _drawable(points.label)} if points.label else {}
    look |= {"markeredgewidth": 1.5} if points.cross else {"markeredgewidth": 0.0} if points.filled else HOLLOW
    axes.plot(points.x, points.y, linestyle="", marker=marker, color=color, markersize=points.size,
              alpha=points.opacity, zorder=3, **look)  # fmt: skip


def _bars(axes: Axes, bars: spec.Bars) -> None:
    draw = axes.hlines if bars.across else axes.vlines
    draw(bars.at, bars.low, bars.high, color=_color(bars.color), linewidth=bars.width, alpha=bars.opacity)


def _level(axes: Axes, level: spec.Level) -> None:
    draw = axes.axvline if level.upright else axes.axhline
    look: dict[str, Any] = {"label": _drawable(level.label)} if level.label else {}
    draw(level.at, color=_color(level.color), linewidth=1.0, linestyle=DASHES[level.dash], **look)


def _zone(axes: Axes, zone: spec.Zone) -> None:
    (axes.axvspan if zone.upright else axes.axhspan)(zone.low, zone.high, color=ZONE, alpha=0.7, linewidth=0, zorder=0)
    if zone.label:
        middle = (zone.low + zone.high) / 2
        x, y, transform = (
            (middle, 0.98, axes.get_xaxis_transform()) if zone.upright else (0.98, middle, axes.get_yaxis_transform())
        )
        axes.text(x, y, _drawable(zone.label), transform=transform, color=SOFT, size=8.5, va="top",
                  ha="center" if zone.upright else "right")  # fmt: skip


def _note(axes: Axes, note: spec.Note) -> None:
    across, up = (axes.transAxes if share else axes.transData for share in (note.x_share, note.y_share))
    place = offset_copy(
        blended_transform_factory(across, up), axes.get_figure(root=True), y=note.raised, units="points"
    )
    axes.text(note.x, note.y, _drawable(note.text), transform=place, color=_color(note.color), ha=note.align,
              va=note.valign, weight="bold" if note.bold else "normal",
              linespacing=1.1)  # fmt: skip


def _cells(axes: Axes, grid: Grid) -> None:
    axes.imshow(grid.values, cmap=_shades(grid), vmin=grid.low, vmax=grid.high, interpolation="nearest", aspect="auto")
    middle, half = (grid.high + grid.low) / 2, (grid.high - grid.low) / 2
    for row, words in enumerate(grid.words):
        for column, text in enumerate(words):
            strong = abs(grid.values[row, column] - middle) > 0.6 * half  # False of NaN
            axes.text(
                column, row, _drawable(text), ha="center", va="center", size=9, color="white" if strong else "black"
            )


MARKS: dict[type[spec.Mark], Callable[[Axes, Any], None]] = {
    spec.Line: _line, spec.Points: _points, spec.Bars: _bars, spec.Level: _level, spec.Zone: _zone, spec.Note: _note,
    Grid: _cells,
}  # fmt: skip


def _overview(axes: Axes, panel: Panel) -> None:
    """A small map for every option of the two choices behind a grid, the first one's down, the second one's across."""
    grid = _grid(panel)
    if grid is None or grid.overview is None:
        axes.set_axis_off()
        return
    rows, columns, size, _ = grid.overview.shape
    step = size + max(1, size // 12)
    mosaic = np.full((rows * step, columns * step), np.nan)
    for row, column in np.ndindex(rows, columns):
        mosaic[row * step :, column * step :][:size, :size] = grid.overview[row, column]
    axes.imshow(mosaic, cmap=_shades(grid), vmin=grid.low, vmax=grid.high, interpolation="nearest", aspect="equal")
    for which, count in (("x", columns), ("y", rows)):
        getattr(axes, f"set_{which}ticks")(step * np.arange(count) + size / 2, [str(i) for i in range(count)])
    axes.set_anchor("N")
    axes.set(xlabel=grid.by[1], ylabel=grid.by[0])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _color_bar(canvas: Canvas, every: Sequence[Axes], panels: Sequence[Panel]) -> None:
    grid = next((grid for grid in map(_grid, panels) if grid), None)
    if grid is not None:
        image = next(axes.images[0] for axes in every if axes.images)
        extend = "neither" if grid.diverging else "max"
        canvas.colorbar(image, ax=every, location="bottom", shrink=0.35, aspect=30, extend=extend,
                        label=grid.title.replace("\n", " "))  # fmt: skip


def _legend(canvas: Canvas, every: Sequence[Axes], panels: Sequence[Panel]) -> None:
    """One legend for all panels, under them: what several of them label alike stands there once; layers in order."""
    handles: dict[str, Any] = {}
    for axes in every:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    marks = [mark for panel in panels for mark in panel.marks if isinstance(mark, spec.Line)]
    depth = {_drawable(mark.label): mark.color.index for mark in marks if mark.color.role == "depth"}
    shown = sorted(handles, key=lambda label: depth.get(label, len(depth)))
    if shown:
        columns = next(n for n in range(min(7, len(shown)), 0, -1) if n == 1 or n * max(map(len, shown)) < 95)
        canvas.legend([handles[label] for label in shown], shown, loc="outside lower center", ncols=columns)


def _color(color: spec.Color) -> Any:
    if color.role == "variant":
        return COLORS[color.index % len(COLORS)]
    return SOFT if color.role == "neutral" else _colormap(DEPTH)(color.index / max(color.of - 1, 1))


def _marker(color: spec.Color) -> str:
    return MARKERS[color.index % len(MARKERS)] if color.role == "variant" else "o"


def _shades(grid: Grid) -> Colormap:
    return _colormap(BLUE_RED if grid.diverging else SHADES)


@cache
def _colormap(colors: tuple[Any, ...]) -> Colormap:
    return LinearSegmentedColormap.from_list("", list(colors)).with_extremes(bad="white")


def _drawable(text: str, family: str = "DejaVu Sans") -> str:
    """The text, what the font lacks as boxes."""
    return "".join(c if c == "\n" or ord(c) in _glyphs(family) else "□" for c in text)


@cache
def _glyphs(family: str) -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont(family)).get_charmap())
