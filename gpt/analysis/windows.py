"""The paired difference of two variants, test window by test window."""

import numpy as np

from gpt.analysis.collect import Group
from gpt.analysis.statistics.over_text import TextInterval, over_text
from gpt.records.metric import Metric
from gpt.records.schema import TEST_LOSS, WINDOW_IS_TEST, WINDOW_LOSS_BEST, WINDOW_LOSS_LAST

KEPT = {Metric(TEST_LOSS, "at_best_val"): WINDOW_LOSS_BEST, Metric(TEST_LOSS, "last"): WINDOW_LOSS_LAST}
"""metrics that are means over windows whose losses every run keeps, and the array that holds them"""


def interval_over_text(metric: Metric, a: Group, b: Group) -> TextInterval | None:
    """The interval over text of the mean difference, b minus a, over the seeds that survived in both variants.

    The seeds stay as they are: each window's difference is the mean over them. None where the metric is no mean over
    kept windows, no pair survived, or the variants read windows of different lengths.
    """
    if metric not in KEPT:
        return None
    differences = []
    for x, y in zip(a.runs, b.runs, strict=True):
        if x in a.survivors and y in b.survivors:
            first, other = x.window_losses, y.window_losses
            if first is None or other is None or first[WINDOW_IS_TEST].shape != other[WINDOW_IS_TEST].shape:
                return None
            of_test = first[WINDOW_IS_TEST]
            first_N, other_N = (each[KEPT[metric]][of_test].astype(np.float64) for each in (first, other))
            differences.append(other_N - first_N)
    return over_text(np.mean(differences, axis=0)) if differences else None
