"""What the interactive page draws over training steps, as plain numbers: loss, gradient norms, clipping.

Every function takes one setting of a study; it gives None where no run recorded what it needs. Shapes: S seed, N step,
L layer. A `band` holds the mean over seeds with the ends of its 95 % t interval.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpt.analysis.collect import Group, RunReader, SettingResults
from gpt.analysis.findings import SettingFindings
from gpt.records.schema import CLIP_SCALE, TRAIN_LOSS, VAL_LOSS
from gpt.report.draw.png import Floats, band, windows
from gpt.report.figures.by_depth import Layered
from gpt.report.figures.gradients import layer_norms
from gpt.report.figures.training import TRAIN_WINDOWS, drawn_groups, loss_differences, stacked

Json = dict[str, Any]

DIGITS = 4
"""significant digits of a number that is drawn; those that are read come from the findings, whole"""


def rounded(values: Any, digits: int = DIGITS) -> Any:
    """Nested lists of an array's numbers, None for what is not finite."""
    array = np.asarray(values)
    if array.ndim:
        return [rounded(value, digits) for value in array]
    number = float(f"{float(array):.{digits}g}")
    return None if not np.isfinite(number) else int(number) if number.is_integer() else number


def mean_band(values_SN: Floats, log: bool = False) -> Json:
    """Mean over the first axis and the ends of its interval; with `log` the geometric mean, of positive values."""
    with np.errstate(invalid="ignore", over="ignore"):  # the arrays of diverged runs hold what is not finite
        mean, low, high = band(np.log(values_SN)) if log else band(values_SN)
        ends = (np.exp(mean), np.exp(low), np.exp(high)) if log else (mean, low, high)
    return dict(zip(("mean", "low", "high"), map(rounded, ends), strict=True))


def loss(setting: SettingResults, seeds: tuple[int, ...]) -> Json | None:
    """Validation and training loss of every run and of their mean, and the paired differences of the former."""
    groups = drawn_groups(setting)
    if not groups:
        return None
    level = next(run.info["data"]["unigram_loss"] for _, g in groups for run in g.runs if run.finished)
    differences = [
        {
            "variant": index,
            "x": steps.tolist(),
            "seeds": rounded(difference_SN),
            **mean_band(difference_SN),
        }
        for index, _, steps, difference_SN in loss_differences(setting)
    ]
    return {
        "unigram": level,
        "val": [_curves(index, group, VAL_LOSS, seeds) for index, group in groups],
        "train": [_curves(index, group, TRAIN_LOSS, seeds) for index, group in groups],
        "differences": differences,
    }


def _curves(index: int, group: Group, key: str, seeds: tuple[int, ...]) -> Json:
    runs = [
        {"seed": seed, "diverged": run.diverged, **_run(run, key)}
        for seed, run in zip(seeds, group.runs, strict=True)
        if run.finished and len(run.curve(key)[0])
    ]
    found: Json = {"variant": index, "runs": runs, "mean": None}
    if (over := stacked(group.survivors, key)) is not None:
        steps, values_SN = over
        if key == TRAIN_LOSS:
            steps, values_NS = windows(steps, values_SN.T, TRAIN_WINDOWS)
            values_SN = values_NS.T
        found["mean"] = {"x": steps.tolist(), **mean_band(values_SN)}
    return found


def _run(run: RunReader, key: str) -> Json:
    steps, values = run.curve(key)
    if key == TRAIN_LOSS:
        steps, values = windows(steps, values, TRAIN_WINDOWS)
    return {"x": steps.tolist(), "y": rounded(values)}


def gradients(setting: SettingResults) -> list[Json] | None:
    """Gradient norm of each layer before clipping: geometric means over windows of steps."""
    return layered(layer_norms(setting))


def layered(measured: Sequence[Layered]) -> list[Json] | None:
    """A curve for each layer that a logarithmic axis has a place for, by variant."""
    found = [
        {
            "variant": each.variant,
            "runs": each.group.shown_runs,
            "layers": [
                {"name": name, "x": each.steps.tolist(), **mean_band(values_SN, log=True)}
                for name, values_SN in each.positive.items()
            ],
        }
        for each in measured
        if each.positive
    ]
    return found or None


def quantiles(found: SettingFindings) -> list[Json] | None:
    """The findings' quantiles of each layer's gradient norm, and its norm at the first step.

    Args:
        found: the setting in the findings.
    """
    shown = []
    for index, variant in enumerate(found.variants):
        if (norms := variant.gradient_quantiles) is None:
            continue
        layers = [
            {"name": name, "quantiles": rounded(levels), "first": rounded(first)}
            for name, levels, first in zip(variant.layers, norms.by_layer, norms.first_step, strict=True)
            if min(levels) > 0
        ]
        shown.append({"variant": index, "layers": layers})
    return shown or None


def clipping(setting: SettingResults) -> list[Json] | None:
    """Share of steps whose gradient was scaled down, and the mean factor, in windows of steps."""
    found = []
    for index, group in drawn_groups(setting):
        if (over := stacked(group.shown, CLIP_SCALE)) is None:
            continue
        steps, scale_SN = over
        ends, share_NS = windows(steps, 100 * (scale_SN < 1).astype(float).T, TRAIN_WINDOWS // 2)
        _, factor_NS = windows(steps, scale_SN.T, TRAIN_WINDOWS // 2)
        shown = {"share": mean_band(share_NS.T), "factor": mean_band(factor_NS.T)}
        found.append({"variant": index, "x": ends.tolist(), **shown})
    return found or None
