"""The figure of a study in which runs failed: how many were still training, step by step."""

import numpy as np

from gpt.analysis.findings import SettingFindings
from gpt.report.figures.catalogue import METRIC, Entry, View
from gpt.report.figures.spec import Axis, Figure, Line, Mark, Panel, Points, variant


@Entry("survival", "When runs failed", METRIC, 20, "No run failed.", whole_study=True, kinds=("contrasts",))
def survival(view: View) -> Figure | None:
    """Share of the finished runs that have not failed yet: a panel for each setting, a line for each variant."""
    if not any(any(each.failed) for setting in view.findings.settings for each in setting.variants):
        return None
    return Figure(
        caption="Share of the runs that have not failed, step by step; a cross is a failure. A run that "
        "learned nothing or regressed counts as failed at its last step.",
        panels=[_panel(view, setting) for setting in view.findings.settings],
        height=2.3,
    )


def _panel(view: View, setting: SettingFindings) -> Panel:
    """Nothing hides: lines that lie on each other grow thinner from variant to variant."""
    marks: list[Mark] = []
    last = max(view.study.config(setting, each)["train.steps"] for each in setting.variants)
    for index, each in enumerate(setting.variants):
        if not each.finished:
            continue
        lost = [s for s, gone in zip(each.steps_survived, each.failed, strict=True) if gone and s is not None]
        at, left = np.unique(np.array(lost, dtype=np.int64), return_counts=True)
        alive = [100, *100 * (1 - np.cumsum(left) / each.finished)]
        words = [f"{each.label}, step {step}: {n} failed" for step, n in zip(at, left, strict=True)]
        width = 1.6 + 1.8 * (len(setting.variants) - 1 - index)
        marks += [
            Line(x=[0, *at, max(last, *at, 0)], y=[*alive, alive[-1]], color=variant(index), label=each.label,
                 stepped=True, width=width),
            Points(x=at, y=alive[1:], color=variant(index), words=words, size=7, cross=True),
        ]  # fmt: skip
    x = Axis(label="step", limits=(-0.02 * last, 1.02 * last))
    y = Axis(label="runs that have not failed, %", limits=(-4, 106))
    return Panel(title=setting.label, x=x, y=y, marks=marks)
