"""The figure of a study with several settings: the metric and the differences over the crossed field."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpt.analysis.findings import SettingFindings
from gpt.records.formatting import count, fixed, listed, number, signed
from gpt.report.figures.catalogue import METRIC, View, figure
from gpt.report.figures.series import linear_axis, scattered
from gpt.report.figures.spec import (
    Axis,
    Bars,
    Figure,
    Frame,
    Level,
    Line,
    Mark,
    Note,
    Panel,
    Pick,
    Points,
    Zone,
    variant,
)
from gpt.study.plan import label

TOP = 0.16
"""share of the panel kept for what has no number"""


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
        return float(min(np.diff(sorted(self.places)), default=1.0))

    def beside(self, index: int, count: int) -> float:
        return 0.22 * self.step * (index - (count - 1) / 2)

    def axis(self) -> Axis:
        ticks = [label(setting.setting[self.field]) for setting in self.settings]
        room = 0.6 * self.step
        limits = (min(self.places) - room, max(self.places) + room)
        return Axis(label=self.field, limits=limits, ticks=tuple(zip(self.places, ticks, strict=True)), named=True)


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


@figure("sensitivity", "The primary metric at every setting", METRIC, 10,
        "This study has one setting: nothing was varied beside the factor.", whole_study=True,
        kinds=("contrasts",))  # fmt: skip
def sensitivity(view: View) -> Figure | None:
    """Left: every run's metric with means; right: differences from the first variant. A row for each strip."""
    settings = view.findings.settings
    rows = strips(settings)
    if not rows or not view.findings.runs.finished:
        return None
    compared = any(setting.contrasts for setting in settings)
    right = (
        f" Right: the paired difference from `{view.labels[0]}`, small marks for single seeds, large ones and bars for "
        f"the mean and its 95 % t interval; open marks are means over surviving pairs only; in the grey zone "
        f"differences are too small to matter ({view.effect})."
    )
    panels = [panel for row in rows for panel in (_metric(view, row), *([_differences(view, row)] if compared else []))]
    return Figure(
        caption=f"{_best(view)} Small marks are single runs, lines join the means over runs that did not diverge, bars "
        f"are their 95 % t intervals; runs that diverged are counted at the top." + (right if compared else ""),
        panels=tuple(panels),
        columns=1 + compared,
        height=3.0,
    )


def _best(view: View) -> str:
    """At which setting each variant's mean is best."""
    lower, parts = view.study.metric.lower_is_better is not False, []
    for i, name in enumerate(view.labels):
        shown = [(setting.variants[i], setting.label) for setting in view.findings.settings]
        means = [(found.mean.mean, found, where) for found, where in shown if found.mean.n]
        if not means:
            parts.append(f"no run of `{name}` survived")
            continue
        mean, best, where = (min if lower else max)(means, key=lambda each: each[0])
        lost = sum(best.diverged)
        alone = f" ({lost} of {count(best.finished, 'run')} diverged there)" if lost else ""
        parts.append(f"`{name}` is best at {where}, {fixed(mean, view.places)}{alone}")
    text = listed(parts)
    return f"{text[0].upper()}{text[1:]}."


def _here(view: View, strip: Strip) -> Pick:
    """The setting that the reader has chosen."""
    of = [str(view.findings.settings.index(setting)) for setting in strip.settings]
    zones = [Zone(low=place - 0.4 * strip.step, high=place + 0.4 * strip.step, upright=True) for place in strip.places]
    return Pick(tuple(Frame({"setting": i}, zone) for i, zone in zip(of, zones, strict=True)))


def _metric(view: View, strip: Strip) -> Panel:
    marks: list[Mark] = [_here(view, strip)]
    lost, shown = [], []
    for index, name in enumerate(view.labels):
        x = np.array(strip.places) + strip.beside(index, len(view.labels))
        here = [setting.variants[index] for setting in strip.settings]
        for place, found in zip(x, here, strict=True):
            values = zip(found.values, found.diverged, view.study.seeds, strict=True)
            there = [(v, seed) for v, gone, seed in values if not gone and math.isfinite(number(v))]
            words = tuple(f"{name}, seed {seed}: {fixed(value, view.places)}" for value, seed in there)
            shown.append(np.array([value for value, _ in there]))
            marks.append(Points(x=scattered(place, len(there), 0.1 * strip.step), y=shown[-1], color=variant(index),
                                words=words, size=3.5, opacity=0.45))  # fmt: skip
            if any(found.diverged):
                gone = f"\N{MULTIPLICATION X}\n{sum(found.diverged)} of {found.finished}"
                lost.append(Note(text=gone, x=place, y=1, y_share=True, valign="top", color=variant(index), bold=True))
        mean, low, high = (
            np.array([getattr(f.mean, end) for f in here], dtype=np.float64) for end in ("mean", "low", "high")
        )
        marks.append(Bars(at=x, low=low, high=high, color=variant(index), width=4, opacity=0.5))
        marks.append(Line(x=x, y=mean, color=variant(index), label=name, markers=True))
        shown += [mean, low, high]
    y = linear_axis(view.metric_label, shown)
    title = ", ".join(filter(None, ("every run, and the means", strip.title)))
    return Panel(title=title, x=strip.axis(), **_topped(y, marks, lost, "diverged"), closest=True)


def _topped(y: Axis, marks: list[Mark], notes: list[Note], title: str) -> dict[str, Any]:
    """Axis and marks, with notes in a strip that no number reaches."""
    if notes and y.limits:
        low, high = y.limits
        top = low + (high - low) / (1 - TOP)
        y = Axis(label=y.label, limits=(low, top))
        marks = [*marks, Zone(low=high, high=top), *notes]
        marks.append(Note(text=title, x=0.01, y=1, x_share=True, y_share=True, align="left", valign="top"))
    return {"y": y, "marks": tuple(marks)}


def _differences(view: View, strip: Strip) -> Panel:
    effect = view.study.smallest_effect
    marks: list[Mark] = [_here(view, strip), Zone(low=-effect, high=effect), Level(at=0, dash="solid")]
    missing, shown = [], [np.array([-effect, effect])]
    contrasts = len(strip.settings[0].contrasts)
    for row in range(contrasts):
        color, line = variant(row + 1), []
        for place, setting in zip(strip.places, strip.settings, strict=True):
            contrast, x = setting.contrasts[row], place + strip.beside(row, contrasts)
            found = contrast.paired
            if not found.n:
                missing.append(Note(text="none", x=x, y=1, y_share=True, valign="top", color=color, bold=True))
                continue
            each = np.array(found.differences, dtype=np.float64)
            there = np.flatnonzero(np.isfinite(each))
            words = tuple(f"{contrast.b}, seed {contrast.seeds[i]}: {signed(each[i], view.places)}" for i in there)
            ends = [np.array([end]) for end in (x, found.mean_difference, found.low, found.high)]
            marks.append(Points(x=scattered(x + 0.11 * strip.step, len(there), 0.08 * strip.step), y=each[there],
                                color=color, words=words, size=3.5, opacity=0.45))  # fmt: skip
            marks.append(Bars(at=ends[0], low=ends[2], high=ends[3], color=color, width=3))
            mean = f"{contrast.b}, mean: {signed(found.mean_difference, view.places)}"
            marks.append(Points(x=ends[0], y=ends[1], color=color, words=(mean,), size=7.5,
                                filled=not contrast.among_survivors))  # fmt: skip
            shown += [each, *ends[1:]]
            line.append((x, found.mean_difference))
        if line:
            x_y = np.array(line).T
            marks.append(Line(x=x_y[0], y=x_y[1], color=color, width=0.9, opacity=0.7))
    better = {True: ": above 0 is worse", False: ": above 0 is better", None: ""}[view.study.metric.lower_is_better]
    y = linear_axis(view.study.metric.unit, shown)
    return Panel(
        title=f"difference from {view.labels[0]}{better}",
        x=strip.axis(),
        **_topped(y, marks, missing, "surviving pairs"),
        closest=True,
    )
