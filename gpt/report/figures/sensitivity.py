"""The figure of a study with several settings: the metric and the differences over the crossed field."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpt.analysis.findings import Findings, MetricFindings, SettingFindings, StudyFindings
from gpt.report.draw.png import color, legend_below, marker
from gpt.study.plan import label

TOP = 0.16
"""share of the axes kept for what has no number"""
Mark = tuple[float, int, str]
"""place on the axis, index of the variant, words"""


@dataclass(frozen=True)
class Strip:
    """Settings that differ in one field alone, along an axis."""

    field: str
    title: str
    """values of the other crossed fields; empty where there are none"""
    places: list[float]
    """of each setting on the axis"""
    settings: list[SettingFindings]

    @property
    def step(self) -> float:
        """Least distance between two places."""
        return min(np.diff(sorted(self.places)), default=1.0)


def strips(settings: Sequence[SettingFindings]) -> list[Strip]:
    """Settings of the findings by everything but the first crossed field that has several values."""
    first = settings[0].setting
    field = next((key for key in first if len({label(b.setting[key]) for b in settings}) > 1), "")
    if not field:
        return []
    found: dict[str, list[SettingFindings]] = {}
    for setting in settings:
        others = {key: value for key, value in setting.setting.items() if key != field}
        varied = [key for key in others if len({label(b.setting[key]) for b in settings}) > 1]
        found.setdefault(", ".join(f"{key} = {label(others[key])}" for key in varied), []).append(setting)
    return [Strip(field, title, _places([b.setting[field] for b in of]), of) for title, of in found.items()]


def _places(values: Sequence[Any]) -> list[float]:
    """Logarithms of numbers above zero; else one place after the other."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and v > 0]
    return [math.log10(v) for v in numbers] if len(numbers) == len(values) else [float(i) for i in range(len(values))]


def sensitivity(figure: Figure, findings: Findings) -> None:
    """Left: every run's metric with means; right: differences from the first variant. A row for each strip."""
    study, rows = findings.study, strips(findings.settings)
    compared = any(setting.contrasts for setting in findings.settings)
    grid = figure.subplots(len(rows), 1 + compared, squeeze=False, sharey="col")
    for (left, *others), strip in zip(grid, rows, strict=True):
        _metric(left, strip, study.metric)
        for right in others:
            _differences(right, strip, study)
        for axes in (left, *others):
            values = [label(b.setting[strip.field]) for b in strip.settings]
            axes.set_xticks(strip.places, values)
            axes.set_xlabel(strip.field)
            axes.set_xlim(min(strip.places) - 0.6 * strip.step, max(strip.places) + 0.6 * strip.step)
            axes.grid(visible=False, axis="x")
        if strip.title:
            left.set_title(strip.title, loc="left")
    legend_below(figure, grid[0][0])


def _metric(axes: Axes, strip: Strip, metric: MetricFindings) -> None:
    variants = strip.settings[0].variants
    lost: list[Mark] = []
    for index, first in enumerate(variants):
        x = np.array(strip.places) + _offset(strip, index, len(variants))
        here = [setting.variants[index] for setting in strip.settings]
        for place, variant in zip(x, here, strict=True):
            survived = [v for v, gone in zip(variant.values, variant.diverged, strict=True) if not gone]
            if finite := [v for v in survived if math.isfinite(v)]:
                spread = place + 0.05 * strip.step * np.linspace(-1, 1, len(finite))
                axes.plot(spread, finite, marker=marker(index), color=color(index), linestyle="", markersize=3.5,
                          alpha=0.45)  # fmt: skip
            if any(variant.diverged):
                lost.append((place, index, f"\N{MULTIPLICATION X}\n{sum(variant.diverged)} of {variant.finished}"))
        mean, low, high = (np.array([getattr(v.mean, end) for v in here]) for end in ("mean", "low", "high"))
        axes.plot(x, mean, color=color(index), label=first.label, marker=marker(index), markersize=6,
                  markeredgecolor="white", zorder=3)  # fmt: skip
        axes.vlines(x, low, high, color=color(index), linewidth=4, alpha=0.5)
    axes.set_ylabel(f"{metric.title}\n{metric.unit}")
    if lost:
        _at_the_top(axes, "diverged", lost)


def _at_the_top(axes: Axes, title: str, marks: Sequence[Mark]) -> None:
    """Words in a strip that no number reaches, each above its place and in its variant's colour."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, low + (high - low) / (1 - TOP))
    axes.axhspan(high, low + (high - low) / (1 - TOP), color="#f3f3f3", linewidth=0)
    axes.text(0.01, 0.985, title, transform=axes.transAxes, va="top", color="#555555", fontsize=8.5)
    for place, index, words in marks:
        axes.annotate(words, (place, 1 - 0.1 * TOP), xycoords=("data", "axes fraction"), ha="center", va="top",
                      color=color(index), fontsize=8.5, fontweight="bold", linespacing=1.05)  # fmt: skip


def _differences(axes: Axes, strip: Strip, study: StudyFindings) -> None:
    metric, smallest_effect = study.metric, study.smallest_effect
    axes.axhspan(-smallest_effect, smallest_effect, color="#dddddd", alpha=0.6, linewidth=0)
    axes.axhline(0, color="#444444", linewidth=1)
    count = len(strip.settings[0].contrasts)
    missing: list[Mark] = []
    for row in range(count):
        index = row + 1
        line: list[tuple[float, float]] = []
        for place, setting in zip(strip.places, strip.settings, strict=True):
            contrast = setting.contrasts[row]
            x = place + _offset(strip, row, count)
            if not contrast.paired.n:
                missing.append((x, index, "none"))
                continue
            each = [d for d in contrast.paired.differences if math.isfinite(d)]
            spread = x + strip.step * (0.07 + 0.08 * np.linspace(0, 1, len(each)))
            look: dict[str, Any] = {"marker": marker(index), "color": color(index), "linestyle": ""}
            axes.plot(spread, each, markersize=3.5, alpha=0.45, **look)
            axes.vlines([x], contrast.paired.low, contrast.paired.high, color=color(index), linewidth=3)
            face: dict[str, Any] = {"markerfacecolor": "white"} if contrast.among_survivors else {}
            axes.plot([x], [contrast.paired.mean_difference], markersize=7.5, **face, **look)
            line.append((x, contrast.paired.mean_difference))
        if line:
            axes.plot(*zip(*line, strict=True), color=color(index), linewidth=0.9, alpha=0.7)
    if missing:
        _at_the_top(axes, "surviving pairs", missing)
    above = "worse" if metric.lower_is_better else "better"
    axes.set_title(f"difference from {strip.settings[0].variants[0].label}: above 0 is {above}")
    axes.set_ylabel(metric.unit)


def _offset(strip: Strip, index: int, count: int) -> float:
    return 0.22 * strip.step * (index - (count - 1) / 2)
