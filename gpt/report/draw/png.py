"""How every figure looks: colours, panels, bands, and PNG bytes that depend on the numbers alone."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[Any]

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, told apart by colour-blind readers; a variant has the same one in every figure"""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WIDTH = 8.6
"""inches, about the width of a README"""
DPI = 110
PALETTE = 256
"""colours of a PNG: a third of the size, and no colour moves by more than the eye forgives"""
SETTINGS: dict[Any, Any] = {
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
    "lines.linewidth": 1.6,
    "path.simplify_threshold": 0.5,
}


def color(index: int) -> str:
    return COLORS[index % len(COLORS)]


def marker(index: int) -> str:
    return MARKERS[index % len(MARKERS)]


def png(draw: Callable[[Figure], None], height: float) -> bytes:
    """Draw on a figure of README width and return its PNG; no setting of the user's own leaks in.

    Args:
        height: inches.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        draw(figure)
        canvas.draw()
    stream = io.BytesIO()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    drawn.quantize(PALETTE, Image.Quantize.MAXCOVERAGE, kmeans=1).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def band(values_SN: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean over seeds with the ends of its 95 % t interval; below two seeds the ends are the mean.

    Args:
        values_SN: one row for each seed.
    """
    from scipy import stats

    mean = values_SN.mean(axis=0)
    n = len(values_SN)
    if n < 2:
        return mean, mean, mean
    margin = float(stats.t.isf(0.025, n - 1)) * values_SN.std(axis=0, ddof=1) / np.sqrt(n)
    return mean, mean - margin, mean + margin


def draw_band(
    axes: Axes,
    steps: NDArray[np.int64],
    values_SN: Floats,
    color: Any,
    name: str,
    *,
    log: bool = False,
    **line: Any,
) -> None:
    """Mean line and band; with `log` the geometric mean, for positive values on a logarithmic axis."""
    mean, low, high = band(np.log(values_SN)) if log else band(values_SN)
    if log:
        mean, low, high = np.exp(mean), np.exp(low), np.exp(high)
    draw_between(axes, steps, mean, low, high, color, name, **line)


def draw_between(
    axes: Axes, x: Any, mean: Any, low: Any, high: Any, color: Any, name: str, *, alpha: float = 0.2, **line: Any
) -> None:
    """A line, and a band around it where its ends are numbers; null and NaN are gaps."""
    ends = np.array([low, high], dtype=np.float64)
    if np.isfinite(ends).any():
        axes.fill_between(x, *ends, color=color, alpha=alpha, linewidth=0)
    axes.plot(x, np.array(mean, dtype=np.float64), color=color, label=name, **line)


def log_axis(axes: Axes, low: float, high: float) -> None:
    """A logarithmic y axis with plain numbers, at least two of them labelled."""
    axes.set_yscale("log")
    span = np.log10(high / low) if high > low > 0 else 0.0
    subs = (1.0, 2.0, 5.0) if span < 2.5 else (1.0,)
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=subs, numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def windows(steps: NDArray[np.int64], values: Floats, wanted: int) -> tuple[NDArray[np.int64], Floats]:
    """Means over consecutive windows of steps, about `wanted` of them.

    Args:
        steps: (N,).
        values: (N, ...).

    Returns:
        (M,) last step of each window and (M, ...) means; a part of a window at the end is its own.
    """
    size = max(1, -(-len(steps) // wanted))
    starts = np.arange(0, len(steps), size)
    counts = np.diff(np.append(starts, len(steps)))
    sums = np.add.reduceat(values, starts, axis=0)
    return steps[starts + counts - 1], sums / counts.reshape(-1, *[1] * (values.ndim - 1))


def layers_of_all(names: Sequence[Sequence[str]]) -> list[str]:
    """Every layer that a variant has, once; from the input to the output where the longest list holds the others.

    Args:
        names: each variant's own layers in that order.
    """
    return list(dict.fromkeys(name for each in sorted(names, key=len, reverse=True) for name in each))


def layer_colors(names: Sequence[str]) -> dict[str, Any]:
    """From dark (near the input) to light (near the output)."""
    places = np.linspace(0.0, 0.88, max(len(names), 1))[: len(names)]
    return {name: matplotlib.colormaps["viridis"](place) for name, place in zip(names, places, strict=True)}


def legend_below(figure: Figure, *panels: Axes, columns: int = 7) -> None:
    """One legend for all panels, under them: what several of them label alike stands there once."""
    shown = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend([*shown.values()], [*shown], loc="outside lower center", ncols=min(columns, max(1, len(shown))))


def columns_for(count: int) -> int:
    """Panels side by side: up to four, but never one alone in a second row of four."""
    return count if count <= 4 else 3


def panels(figure: Figure, count: int, columns: int | None = None, **options: Any) -> Sequence[Axes]:
    """Panels that share their axes unless told otherwise."""
    columns = columns or columns_for(count)
    rows = -(-count // columns)
    grid = figure.subplots(rows, columns, squeeze=False, **{"sharey": True, "sharex": True, **options})
    for spare in grid.flat[count:]:
        spare.set_axis_off()
    return list(grid.flat[:count])


def empty(axes: Axes, words: str) -> None:
    """Say in a panel's place why there is nothing to draw."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes, color="#555555")


def beside(place: int, count: int, room: float = 0.5) -> float:
    """How far from the middle the mark of one of so many variants stands, in units of the axis."""
    return room * ((place + 0.5) / count - 0.5)


def label_bottom(row: Sequence[Axes], text: str) -> None:
    """Name the x axis, with its numbers, where no panel follows underneath."""
    for axes in row[-columns_for(len(row)) :]:
        axes.set_xlabel(text)
        axes.tick_params(axis="x", labelbottom=True)


def panel_rows(count: int) -> int:
    return -(-count // columns_for(count)) if count else 0
