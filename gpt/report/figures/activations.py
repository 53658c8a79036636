"""The figure of activations by depth: size, extremes and shape of the residual stream, silent feed-forward units."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from gpt.analysis.collect import SettingResults
from gpt.report.draw.png import Floats, color, draw_band, legend_below, log_axis, marker, panels
from gpt.report.figures.by_depth import probed

PANELS = {
    "residual_rms": "root mean square of the stream",
    "residual_max": "largest absolute value of the stream",
    "residual_kurtosis": "excess kurtosis of the stream",
    "dead_share": "silent feed-forward units, %",
}
"""Title of each probe array's panel."""
COLUMNS = 2


def recorded(setting: SettingResults) -> list[str]:
    return [name for name in PANELS if probed(setting, name)]


def activations(figure: Figure, setting: SettingResults) -> None:
    """Each array by depth, before training and after, a panel for each array."""
    names = recorded(setting)
    rows = panels(figure, len(names), min(COLUMNS, len(names)), sharey=False, sharex=False)
    for axes, name in zip(rows, names, strict=True):
        _by_depth(axes, setting, name)
        axes.set_title(PANELS[name])
    legend_below(figure, rows[0], columns=4)


def _by_depth(axes: Axes, setting: SettingResults, name: str) -> None:
    of_stream, log = name != "dead_share", name in ("residual_rms", "residual_max")
    everything = []
    for index, group, _, values_SNL in probed(setting, name):
        values_SNL = values_SNL if of_stream else 100 * values_SNL
        depth = np.arange(values_SNL.shape[2])
        look: dict[str, Any] = {"marker": marker(index), "markersize": 5, "log": log}
        draw_band(axes, depth, values_SNL[:, 0], color(index), f"{group.label}, before training",
                  linestyle=(0, (4, 2)), markerfacecolor="white", **look)  # fmt: skip
        draw_band(axes, depth, values_SNL[:, -1], color(index), f"{group.label}, after", **look)
        everything.append(values_SNL[:, [0, -1]].ravel())
    values = np.concatenate(everything)
    values = values[np.isfinite(values)]
    axes.set_xticks(depth, ["embedding", *map(str, depth[:-1])] if of_stream else [str(i) for i in depth])
    axes.set_xlabel("after the embedding and after each layer" if of_stream else "layer")
    if log:
        log_axis(axes, values[values > 0].min(initial=np.inf), values.max(initial=0))
    elif of_stream:
        _kurtosis_axis(axes, values)
        axes.axhline(0, color="#777777", linewidth=0.9, linestyle=":")
    else:
        top = max(1.0, 1.1 * values.max(initial=0))
        axes.set_ylim(-0.05 * top, top)
    if name == "residual_rms":
        axes.axhline(1, color="#777777", linewidth=0.9, linestyle=":")


def _kurtosis_axis(axes: Axes, values: Floats) -> None:
    """Linear near 0, logarithmic above 1, where outliers send it far."""
    axes.set_yscale("symlog", linthresh=1)
    top = max(1.0, 1.3 * values.max(initial=0))
    axes.set_ylim(min(-0.5, 1.3 * values.min(initial=0)), top)
    axes.set_yticks([tick for tick in (0, 1, 2, 5, *(m * 10**k for k in range(1, 7) for m in (1, 3))) if tick <= top])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
