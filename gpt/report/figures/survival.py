"""The figure of a study in which runs diverged: how many were still training, step by step."""

import numpy as np

from gpt.report.figures.catalogue import METRIC, View, figure
from gpt.report.figures.spec import Axis, Figure, Line, Mark, Panel, Points, variant


@figure("survival", "When runs diverged", METRIC, 20, "No run diverged.", whole_study=True, kinds=("contrasts",))
def survival(view: View) -> Figure | None:
    """Share of the finished runs that have not diverged yet, a panel for each setting, a falling line for each variant.

    Nothing hides: lines that lie on each other grow thinner from variant to variant.
    """
    settings = view.findings.settings
    if not any(any(found.diverged) for setting in settings for found in setting.variants):
        return None
    panels = []
    for setting in settings:
        marks: list[Mark] = []
        last = max(view.study.config(setting, found)["train.steps"] for found in setting.variants)
        for index, found in enumerate(setting.variants):
            if not found.finished:
                continue
            lost = [s for s, gone in zip(found.steps_survived, found.diverged, strict=True) if gone and s is not None]
            at, left = np.unique(np.array(lost, dtype=np.int64), return_counts=True)
            alive = 100 * (1 - np.cumsum(left) / found.finished)
            marks.append(Line(x=np.array([0, *at, max(last, *at, 0)]), y=np.array([100, *alive, *[100, *alive][-1:]]),
                              color=variant(index), label=found.label, stepped=True,
                              width=1.6 + 1.8 * (len(setting.variants) - 1 - index)))  # fmt: skip
            words = tuple(f"{found.label}, step {step}: {n} diverged" for step, n in zip(at, left, strict=True))
            marks.append(Points(x=at, y=alive, color=variant(index), words=words, size=7, cross=True))
        panels.append(
            Panel(
                title=setting.label,
                x=Axis(label="step", limits=(-0.02 * last, 1.02 * last)),
                y=Axis(label="runs that have not diverged, %", limits=(-4, 106)),
                marks=tuple(marks),
            )
        )
    return Figure(
        caption="Share of the runs that have not diverged, step by step; a cross is a divergence. A run that ends no "
        "better than the unigram baseline counts as diverged at its last step.",
        panels=tuple(panels),
        height=2.3,
    )
