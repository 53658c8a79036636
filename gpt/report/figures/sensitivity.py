"""The figure of a study with several settings: the metric and the differences over the crossed field."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpt.analysis.findings import SettingFindings
from gpt.records.formatting import count, fixed, listed
from gpt.report.figures.catalogue import METRIC, Entry, View
from gpt.report.figures.paired import difference_marks, scored, seed_points
from gpt.report.figures.series import linear_axis, sentence
from gpt.report.figures.spec import Axis, Bars, Figure, Frame, Level, Line, Mark, Note, Panel, Pick, Zone, variant
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


def strips(settings: Sequence[SettingFindings]) -> list[Strip]:
    """Settings of the findings by everything but the first crossed field that has several values."""
    varied = [key for key in settings[0].setting if len({label(each.setting[key]) for each in settings}) > 1]
    if not varied:
        return []
    field, *others = varied
    groups: dict[str, list[SettingFindings]] = {}
    for each in settings:
        groups.setdefault(", ".join(f"{key} = {label(each.setting[key])}" for key in others), []).append(each)
    return [Strip(field, title, axis_places([each.setting[field] for each in of]), of) for title, of in groups.items()]


def axis_places(values: Sequence[Any]) -> list[float]:
    """Logarithms of numbers above zero; else one place after the other."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and v > 0]
    return [math.log10(v) for v in numbers] if len(numbers) == len(values) else [float(i) for i in range(len(values))]


@Entry("sensitivity", "The primary metric at every setting", METRIC, 10,
       "This study has one setting: nothing was varied beside the factor.", True, ("contrasts",))  # fmt: skip
def sensitivity(view: View) -> Figure | None:
    """Left: every run's metric with means; right: differences from the first variant. A row for each strip."""
    rows = strips(view.findings.settings)
    if not rows or not view.findings.runs.finished:
        return None
    crosses = max(map(scored, view.findings.settings))
    return Figure(
        caption=f"{_best(view)} Left: small marks are single runs, lines join the means, bars are their 95 % t "
        f"intervals; runs that failed are counted at the top.{crosses} Right: the paired "
        f"difference from {view.findings.compared_with}, small marks for single seeds, large ones and bars for "
        f"the mean and its 95 % t interval; open marks are means over surviving pairs only; {view.too_small}.",
        panels=[panel for row in rows for panel in (_metric(view, row), _differences(view, row))],
        columns=2,
        height=3.0,
    )


def _best(view: View) -> str:
    """At which setting each variant's mean is best."""
    lower, parts = view.study.metric.lower_is_better is not False, []
    for i, name in enumerate(view.labels):
        shown = [(setting.variants[i], setting.label) for setting in view.findings.settings]
        means = [(findings.mean.mean, findings, where) for findings, where in shown if findings.mean.n]
        if not means:
            parts.append(f"no run of `{name}` survived")
            continue
        mean, best, where = (min if lower else max)(means, key=lambda each: each[0])
        lost = sum(best.failed)
        alone = f" ({lost} of {count(best.finished, 'run')} failed there)" if lost else ""
        parts.append(f"`{name}` is best at {where}, {fixed(mean, view.study.places)}{alone}")
    return sentence(listed(parts))


def _metric(view: View, strip: Strip) -> Panel:
    marks: list[Mark] = []
    lost: list[Note] = []
    held: list[Any] = []
    for index, name in enumerate(view.labels):
        x = np.array(strip.places) + strip.beside(index, len(view.labels))
        here = [setting.variants[index] for setting in strip.settings]
        for place, findings in zip(x, here, strict=True):
            marks += seed_points(view, index, findings, place, 0.1 * strip.step, size=3.5, opacity=0.45)
            if any(findings.failed):
                gone = f"\N{MULTIPLICATION X}\n{sum(findings.failed)} of {findings.finished}"
                lost.append(Note(text=gone, x=place, y=1, y_share=True, valign="top", color=variant(index), bold=True))
            held += [findings.scores, findings.mean.low, findings.mean.high]
        means = [findings.mean for findings in here]
        marks.append(Bars(at=x, low=[m.low for m in means], high=[m.high for m in means], color=variant(index), width=4,
                          opacity=0.5))  # fmt: skip
        marks.append(Line(x=x, y=[m.mean for m in means], color=variant(index), label=name, markers=True))
    title = ", ".join(filter(None, ("every run, and the means", strip.title)))
    return _panel(view, strip, title, linear_axis(view.metric_label, held), marks, lost, "failed")


def _differences(view: View, strip: Strip) -> Panel:
    effect, contrasts = view.study.smallest_effect, len(strip.settings[0].contrasts)
    marks: list[Mark] = [Zone(low=-effect, high=effect), Level(at=0, dash="solid")]
    missing: list[Note] = []
    held: list[Any] = [-effect, effect]
    for row in range(contrasts):
        x = [place + strip.beside(row, contrasts) for place in strip.places]
        for place, setting in zip(x, strip.settings, strict=True):
            pairs = setting.contrasts[row].paired
            marks += difference_marks(view, setting.contrasts[row], place, place + 0.11 * strip.step, 0.08 * strip.step)
            held += [pairs.differences, pairs.low, pairs.high]
            if not pairs.n:
                of = variant(view.labels.index(setting.contrasts[row].b))
                missing.append(Note(text="none", x=place, y=1, y_share=True, valign="top", color=of, bold=True))
        means = [setting.contrasts[row].paired.mean_difference for setting in strip.settings]
        color = variant(view.labels.index(strip.settings[0].contrasts[row].b))
        marks.append(Line(x=x, y=means, color=color, width=0.9, opacity=0.7))
    better = {True: ": above 0 is worse", False: ": above 0 is better", None: ""}[view.study.metric.lower_is_better]
    y = linear_axis(view.study.metric.unit, held)
    return _panel(
        view,
        strip,
        f"difference from {view.findings.compared_with}{better}".replace("`", ""),
        y,
        marks,
        missing,
        "surviving pairs",
    )


def _panel(view: View, strip: Strip, title: str, y: Axis, marks: list[Mark], above: Sequence[Note], what: str) -> Panel:
    """A panel over a strip, the setting that the reader has chosen in grey.

    Args:
        above: words that stand over everything else, where no number reaches; the strip of their own is called `what`.
    """
    room = 0.6 * strip.step
    ticks = [label(setting.setting[strip.field]) for setting in strip.settings]
    x = Axis(label=strip.field, limits=(min(strip.places) - room, max(strip.places) + room),
             ticks=list(zip(strip.places, ticks, strict=True)), named=True)  # fmt: skip
    zones = [Zone(low=place - 0.4 * strip.step, high=place + 0.4 * strip.step, upright=True) for place in strip.places]
    of = [str(view.findings.settings.index(setting)) for setting in strip.settings]
    here = Pick([Frame({"setting": i}, zone) for i, zone in zip(of, zones, strict=True)])
    if above and y.limits:
        low, high = y.limits
        top = low + (high - low) / (1 - TOP)
        y = Axis(label=y.label, limits=(low, top))
        named = Note(text=what, x=0.01, y=1, x_share=True, y_share=True, align="left", valign="top")
        marks = [*marks, Zone(low=high, high=top), *above, named]
    return Panel(title=title, x=x, y=y, marks=[here, *marks], closest=True)
