"""The figure that answers: the primary metric of every seed, and the differences between variants."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpt.analysis.findings import ContrastFindings, SettingFindings, StudyFindings, VariantFindings
from gpt.analysis.statistics.paired import PairedContrast
from gpt.records.formatting import decimals, fixed, interval, signed
from gpt.report.draw.png import color, marker


def paired(figure: Figure, findings: SettingFindings, study: StudyFindings) -> None:
    """Left: a line for each seed from variant to variant. Right: differences with interval and smallest effect.

    Args:
        findings: those of one setting.
        study: what the findings say of the study.
    """
    metric, places = study.metric, decimals(study.smallest_effect)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1, 1.2]})
    _slopes(left, findings.variants, places)
    left.set_ylabel(f"{metric.title}\n{metric.unit}")
    left.set_title("every seed, and the means")
    _differences(right, findings.contrasts, study.smallest_effect, places)
    right.set_xlabel(f"difference from {findings.variants[0].label}, {metric.unit}")
    if metric.lower_is_better is not None:
        ends = ("\N{LEFTWARDS ARROW} better", "worse \N{RIGHTWARDS ARROW}")
        low, high = ends if metric.lower_is_better else ("\N{LEFTWARDS ARROW} worse", "better \N{RIGHTWARDS ARROW}")
        right.set_title(low, loc="left")
        right.set_title(high, loc="right")


def _slopes(axes: Axes, variants: Sequence[VariantFindings], places: int) -> None:
    shown = np.array([
        [math.nan if diverged else value for value, diverged in zip(v.values, v.diverged, strict=True)]
        for v in variants
    ], dtype=np.float64)  # fmt: skip
    across = np.arange(len(variants))
    for seed_values in shown.T:
        axes.plot(across, seed_values, color="#b0b0b0", linewidth=0.9, zorder=1)
    for i, variant in enumerate(variants):
        finite = shown[i][np.isfinite(shown[i])]
        axes.plot(np.full(len(finite), i), finite, marker=marker(i), color=color(i), linestyle="", markersize=5.5)
        if len(finite):
            side, align = (-1, "right") if i == 0 and len(variants) == 2 else (1, "left")
            axes.plot([i, i + 0.2 * side], [finite.mean()] * 2, color=color(i), linewidth=2.5)
            axes.text(i + 0.24 * side, finite.mean(), fixed(finite.mean(), places), ha=align, va="center",
                      color=color(i))  # fmt: skip
        if lost := sum(variant.diverged):
            axes.annotate(f"{lost} diverged", (i, 1.0), xycoords=("data", "axes fraction"), ha="center", va="top",
                          color=color(i), fontweight="bold")  # fmt: skip
    axes.set_xticks(across, [v.label for v in variants])
    axes.set_xlim(-0.65, len(variants) - 0.35)
    axes.margins(y=0.14)
    axes.grid(visible=False, axis="x")


def _differences(axes: Axes, contrasts: Sequence[ContrastFindings], smallest_effect: float, places: int) -> None:
    axes.axvspan(-smallest_effect, smallest_effect, color="#dddddd", alpha=0.6, linewidth=0)
    axes.axvline(0, color="#444444", linewidth=1)
    names: list[str] = []
    sizes: list[tuple[int, PairedContrast]] = []
    for row, contrast in enumerate(contrasts):
        index = row + 1
        each = np.array(contrast.paired.differences)
        each = each[np.isfinite(each)]
        spread = row + 0.13 + 0.14 * np.linspace(0, 1, len(each)) if len(each) > 1 else np.full(len(each), row + 0.2)
        axes.plot(each, spread, marker=marker(index), color=color(index), linestyle="", markersize=4.5, alpha=0.6)
        if math.isfinite(contrast.paired.low):
            axes.plot([contrast.paired.low, contrast.paired.high], [row, row], color=color(index), linewidth=3)
        if contrast.paired.n:
            axes.plot([contrast.paired.mean_difference], [row], marker=marker(index), color=color(index), markersize=9)
            sizes.append((row, contrast.paired))
        if not contrast.paired.n:
            nothing = "no seed survived in both" if contrast.among_survivors else "no seed has finished in both"
            axes.annotate(nothing, (0.5, row), xycoords=("axes fraction", "data"), ha="center", va="center")
        alone = "\nsurvivors alone" if contrast.among_survivors and contrast.paired.n else ""
        names.append(f"{contrast.b}{alone}")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    for row, paired in sizes:
        low, high = axes.get_xlim()
        place = (paired.mean_difference - low) / (high - low)
        align = "left" if place < 1 / 3 else "right" if place > 2 / 3 else "center"
        axes.annotate(_size(paired, places), (paired.mean_difference, row), (0, 9), textcoords="offset points",
                      ha=align, color=color(row + 1))  # fmt: skip


def _size(paired: PairedContrast, places: int) -> str:
    return f"{signed(paired.mean_difference, places)}  {interval(paired.low, paired.high, places)}".removesuffix("-")
