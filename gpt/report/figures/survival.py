"""The figure of a study in which runs diverged: how many were still training, step by step."""

import numpy as np
from matplotlib.figure import Figure

from gpt.analysis.findings import Findings
from gpt.report.draw.png import color, label_bottom, legend_below, panels


def anything_diverged(findings: Findings) -> bool:
    return any(any(variant.diverged) for setting in findings.settings for variant in setting.variants)


def survival(figure: Figure, findings: Findings) -> None:
    """Share of the finished runs that have not diverged yet, a panel for each setting, a falling line for each variant.

    Nothing hides: lines that lie on each other grow thinner from variant to variant.
    """
    settings = findings.settings
    rows = panels(figure, len(settings))
    for axes, setting in zip(rows, settings, strict=True):
        variants = setting.variants
        steps = max(int(findings.study.config(setting, v)["train.steps"]) for v in variants)
        for index, variant in enumerate(variants):
            ends = [
                (step, diverged)
                for step, diverged in zip(variant.steps_survived, variant.diverged, strict=True)
                if step is not None
            ]
            if not ends:
                continue
            lost = np.sort([step for step, diverged in ends if diverged])
            at, left = np.unique(lost, return_counts=True)
            alive = 100 * (1 - np.cumsum(left) / len(ends))
            width = 1.6 + 1.8 * (len(variants) - 1 - index)
            axes.step([0, *at, max(steps, *at, 0)], [100, *alive, *(alive[-1:] if len(alive) else [100])],
                      where="post", color=color(index), linewidth=width, label=variant.label)  # fmt: skip
            axes.plot(at, alive, marker="x", markersize=7, linestyle="", color=color(index))
        axes.set_title(setting.label)
        axes.set_ylim(-4, 106)
        axes.set_xlim(-0.02 * steps, 1.02 * steps)
    label_bottom(rows, "step")
    rows[0].set_ylabel("runs that have not diverged, %")
    legend_below(figure, rows[0])
