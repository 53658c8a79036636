"""How much a variant loses where its learning rate is not the best one: the measure of Wortsman et al. (2023)."""

import math
from collections.abc import Sequence

import numpy as np

from gpt.analysis.collect import Results, SettingResults
from gpt.analysis.run_reader import RunReader
from gpt.analysis.statistics.means import mean_interval
from gpt.analysis.tuning_findings import RateDifference, RateSensitivity, RateVariant
from gpt.records.schema import NONFINITE, TEST_LOSS, VAL_LOSS

HELD_OUT = (VAL_LOSS, TEST_LOSS)
RATE = "optim.lr"


def rate_sensitivity(results: Results) -> RateSensitivity | None:
    """Of each variant: mean over the crossed learning rates of (loss at that rate minus the lowest loss of any rate).

    A loss counts up to that of the untrained model, which is also what a run that left the finite numbers counts as
    (Wortsman et al. 2023, arXiv 2309.14322, section 2). None where the settings differ in another field than the
    learning rate, or in none, where variants are not compared, or the metric is no loss on held-out text.
    """
    if results.study.kind != "contrasts" or [*results.study.varied] != [RATE]:
        return None
    return sensitivity_over(results, results.settings)


def sensitivity_over(results: Results, settings: Sequence[SettingResults], setting: str = "") -> RateSensitivity | None:
    """The same of settings that differ in the learning rate alone.

    Args:
        setting: what they share, in words.
    """
    if results.metric.key not in HELD_OUT:
        return None
    labels = [group.label for group in settings[0].groups]
    losses = [
        [_of_seed(results, runs) for runs in zip(*(group.runs for group in groups), strict=True)]
        for groups in zip(*(each.groups for each in settings), strict=True)
    ]
    return RateSensitivity(
        field=RATE,
        values=list(results.study.settings[RATE]),
        variants=[
            RateVariant(label, values, mean_interval(values)) for label, values in zip(labels, losses, strict=True)
        ],
        contrasts=[
            RateDifference.of(losses[0], values, b=label) for label, values in zip(labels[1:], losses[1:], strict=True)
        ],
        setting=setting,
    )


def _of_seed(results: Results, runs: Sequence[RunReader]) -> float:
    """NaN until the seed has finished at every rate."""
    if not all(run.finished for run in runs):
        return math.nan
    losses = []
    for run in runs:
        untrained = float(run.curve(results.metric.key)[1][0])
        lost = any(event["kind"] == NONFINITE for event in run.events)
        losses.append(untrained if lost else min(untrained, run.value(results.metric)))
    return float(np.mean(losses) - min(losses))
