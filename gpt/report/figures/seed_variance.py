"""Figures of a study that takes the spread between runs apart: its runs, its components, and both over training."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gpt.analysis.findings import SettingFindings, SpreadFindings, StudyFindings
from gpt.analysis.seed_variance import SOURCES
from gpt.analysis.statistics.variance import Components, Spread
from gpt.records.formatting import count, decimals, fixed
from gpt.report.draw.png import color, empty, marker
from gpt.report.text.seed_variance import source_names

LINE = "#444444"
Plan = tuple[str, str, str, Callable[[Figure], None], float]
"""name, title, caption, what draws it, and its height in inches"""


def figures(found: SettingFindings, apart: SpreadFindings, study: StudyFindings) -> Iterator[Plan]:
    """The figures of one setting: every run, and the spread's parts where it was taken apart.

    Args:
        found: the findings of one setting.
        study: what the findings say of the study.
    """
    runs = count(apart.finished, "run")
    split, names = apart.split, [source_names(study, found)[source] for source in SOURCES]
    if split is not None:
        yield (
            "components",
            "Where the spread between runs comes from",
            f"Left: shares of the variance. Right: standard deviations. Marks are estimates from {runs}, bars 95 % "
            f"intervals.",
            lambda figure: components(figure, split, names, study),
            2.6,
        )
    yield (
        "crossed",
        "Every run, by its two seeds",
        f"{study.metric.title.capitalize()} of {runs}; blue is lower and red higher than the mean. Where one "
        f"seed decides, rows (or columns) have one colour.",
        lambda figure: heat(figure, found, study),
        1.2 + 0.34 * (len(study.seeds) + 1),
    )
    if apart.split is not None:
        yield (
            "during",
            "The spread during training",
            f"Standard deviation of the validation loss between runs, by source, at every evaluation of {runs}; "
            f"estimates without intervals, negative ones shown as 0. Before training only the initial weights differ.",
            lambda figure: during_training(figure, apart, names),
            3.0,
        )


def heat(figure: Figure, findings: SettingFindings, study: StudyFindings) -> None:
    """Every run's value: rows are initialisation seeds, columns order seeds, margins their means.

    Args:
        findings: those of one setting.
        study: what the findings say of the study.
    """
    metric, places = study.metric, decimals(study.smallest_effect)
    variants = findings.variants
    values_SO = np.array([
        [value if state == "done" else math.nan for value, state in zip(v.values, v.states, strict=True)]
        for v in variants
    ], dtype=np.float64).T  # fmt: skip
    states_SO = list(zip(*(v.states for v in variants), strict=True))
    seeds, orders = values_SO.shape
    axes = figure.subplots()
    finite = np.isfinite(values_SO)
    mean = float(values_SO[finite].mean()) if finite.any() else 0.0
    far = float(np.abs(values_SO[finite] - mean).max()) if finite.any() else 0.0
    shown = np.full((seeds + 1, orders + 1), math.nan)
    shown[:-1, :-1] = values_SO
    shown[:-1, -1] = [row.mean() for row in values_SO]  # NaN where a run is missing: no mean of other company
    shown[-1, :-1] = [column.mean() for column in values_SO.T]
    shown[-1, -1] = values_SO.mean()
    limits = (mean - (far or 1.0), mean + (far or 1.0))
    picture = axes.imshow(shown, cmap="RdBu_r", vmin=limits[0], vmax=limits[1], aspect="auto")
    for s, o in np.ndindex(shown.shape):
        inside = s < seeds and o < orders
        strong = math.isfinite(shown[s, o]) and abs(shown[s, o] - mean) > 0.6 * (far or 1.0)
        text = fixed(float(shown[s, o]), places) if not inside or states_SO[s][o] == "done" else states_SO[s][o]
        axes.text(o, s, text, ha="center", va="center", color="white" if strong else "black",
                  fontweight="normal" if inside else "bold", fontsize=9)  # fmt: skip
    for edge in ((-0.5, seeds - 0.5, orders + 1, 1), (orders - 0.5, -0.5, 1, seeds + 1)):
        axes.add_patch(Rectangle(edge[:2], edge[2], edge[3], fill=False, edgecolor=LINE, linewidth=1.2))
    axes.set_xticks(range(orders + 1), [*(v.label for v in variants), "mean"])
    axes.set_yticks(range(seeds + 1), [*map(str, study.seeds), "mean"])
    axes.set_xlabel("order seed")
    axes.set_ylabel("initialisation seed")
    axes.grid(visible=False)
    figure.colorbar(picture, ax=axes, label=f"{metric.title}\n{metric.unit}")


def components(figure: Figure, split: Components, names: Sequence[str], study: StudyFindings) -> None:
    """Left: shares of the variance. Right: standard deviations. Both with 95 % intervals.

    Args:
        names: of the sources.
    """
    unit, places = study.metric.unit, decimals(study.smallest_effect)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1, 1.2]})
    rows = list(names)
    spreads = [*(getattr(split, source).spread for source in SOURCES), split.run]
    left.set_xlim(0, 100)
    right.set_xlim(0, 1.05 * max(spread.high for spread in spreads) or 1.0)
    for row, spread in enumerate(spreads):
        _bar(right, row, spread, places)
    for row, source in enumerate(SOURCES):
        part = getattr(split, source)
        if math.isfinite(part.share):
            ends = Spread(100 * part.share, 100 * part.share_low, 100 * part.share_high)
            _bar(left, row, ends, 0, " %")
    left.set_xlabel("share of the variance between runs, %")
    left.set_yticks(range(len(rows)), rows)
    left.set_ylim(len(rows) + 0.5, -0.6)
    right.set_xlabel(f"standard deviation, {unit}")
    right.set_yticks(range(len(rows) + 1), [*rows, "one run"])
    right.set_ylim(len(rows) + 0.5, -0.6)
    for axes in (left, right):
        axes.grid(visible=False, axis="y")


def _bar(axes: Axes, row: int, value: Spread, places: int, unit: str = "") -> None:
    """An estimate and its interval, with their numbers."""
    low, high = value.low, value.high
    axes.plot([low, high], [row, row], color=color(row), linewidth=3, solid_capstyle="butt", clip_on=False)
    axes.plot([value.sd], [row], marker=marker(row), color=color(row), markersize=9, clip_on=False, zorder=3)
    text = f"{fixed(value.sd, places)}{unit}  [{fixed(low, places)}, {fixed(high, places)}]"
    place, align = (low, "left") if low + high < axes.get_xlim()[1] else (high, "right")
    axes.annotate(text, (place, row), (0, 9), textcoords="offset points", ha=align, color=color(row))


def during_training(figure: Figure, found: SpreadFindings, names: Sequence[str]) -> None:
    """Standard deviation of the validation loss by source, at every evaluation."""
    axes = figure.subplots()
    curves = found.during_training
    if curves is None or not curves.steps:
        empty(axes, "no evaluation that every run has")
        return
    for i, source in enumerate(SOURCES):
        axes.plot(curves.steps, getattr(curves, source), color=color(i), marker=marker(i), markersize=4.5,
                  label=names[i])  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step")
    axes.set_ylabel("sd of the validation loss\nnats per character")
    axes.legend()
