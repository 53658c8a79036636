"""What the trials of a study gave: every point of the grid, each variant's best, and what that cost."""

import math
from collections.abc import Sequence

from gpt.analysis.collect import Group, Results, SettingResults
from gpt.analysis.control import control
from gpt.analysis.mean_difference import MeanDifference
from gpt.analysis.rate_sensitivity import RATE, sensitivity_over
from gpt.analysis.run_reader import RunReader
from gpt.analysis.statistics.means import mean_interval
from gpt.analysis.trials import CHOSEN_BY, selection_loss
from gpt.analysis.tuning_findings import PointFindings, RateSensitivity, TunedFindings, TuningFindings
from gpt.study.tuning import Tuning


def tuning_findings(results: Results) -> TuningFindings | None:
    """None where nothing is tuned."""
    tuning, trials = results.tuning, results.trials
    if tuning is None or trials is None:
        return None
    runs = [run for _, _, _, run in trials.places()]
    spent, compared = _training_flops(runs), _training_flops([run for _, _, _, run in results.places()])
    points_of = _points_of(results, trials)
    return TuningFindings(
        grid={field: list(values) for field, values in tuning.grid.items()},
        chosen_by=str(CHOSEN_BY),
        trials=len(runs),
        finished=sum(run.finished for run in runs),
        failed=sum(run.failed for run in runs),
        as_planned=control(trials).holds,
        share_of_compute=spent / (spent + compared) if spent else math.nan,
        training_flops=spent,
        arms=[
            _arm(tuning, setting, points, index)
            for setting, points in zip(results.settings, points_of, strict=True)
            for index in range(len(setting.groups))
        ],
        sensitivity=_sensitivity(results, trials, tuning, points_of),
    )


def _points_of(results: Results, trials: Results) -> list[list[SettingResults]]:
    """For each setting of the study the points of the grid, each a setting of the trials."""
    fields = results.study.settings.keys()
    return [
        [point for point in trials.settings if tuple(pair for pair in point.setting if pair[0] in fields) == of.setting]
        for of in results.settings
    ]


def _arm(tuning: Tuning, setting: SettingResults, points: Sequence[SettingResults], index: int) -> TunedFindings:
    """
    Args:
        index: of the variant.
    """
    variant = setting.groups[index]
    best = tuning.best.get((variant.variant, setting.setting))
    found = [_point(tuning, point, index) for point in points]
    return TunedFindings(
        variant=variant.label,
        setting=setting.label,
        points=found,
        chosen=dict(best.values) if best else {},
        ends=dict(best.ends) if best else {},
        best_of=expected_best([point.mean.mean for point in found]),
    )


def _point(tuning: Tuning, point: SettingResults, index: int) -> PointFindings:
    group = point.groups[index]
    losses, firsts = _losses(group), _losses(point.groups[0])
    return PointFindings(
        values={field: value for field, value in point.setting if field in tuning.grid},
        runs=[run.fingerprint for run in group.runs],
        states=[run.status.state for run in group.runs],
        failed=[run.finished and run.failed for run in group.runs],
        losses=losses,
        mean=mean_interval(losses),
        difference=MeanDifference.of(firsts, losses) if index else None,
    )


def _losses(group: Group) -> list[float]:
    """What each trial is chosen by; NaN of one that is not finished."""
    losses = [selection_loss(run) for run in group.runs]
    return [math.nan if loss is None else loss for loss in losses]


def expected_best(losses: Sequence[float]) -> list[float]:
    """Mean of the lowest of k losses drawn without replacement, for k from 1 to all of them (Dodge et al. 2019, with
    the exact sum in place of draws with replacement); NaN where a loss is missing.
    """
    n, rising = len(losses), sorted(losses)
    if any(map(math.isnan, losses)):
        return [math.nan] * n
    return [
        math.fsum(loss * math.comb(n - 1 - rank, k - 1) for rank, loss in enumerate(rising)) / math.comb(n, k)
        for k in range(1, n + 1)
    ]


def _training_flops(runs: Sequence[RunReader]) -> float:
    """Of the steps that finished runs took."""
    total = 0.0
    for run in runs:
        if run.finished:
            config = run.info["config"]
            tokens = run.status.step * config["train"]["batch_size"] * config["model"]["context"]
            total += run.info["training_flops_per_token"] * tokens
    return total


def _sensitivity(
    results: Results, trials: Results, tuning: Tuning, points_of: Sequence[Sequence[SettingResults]]
) -> list[RateSensitivity]:
    if [*tuning.grid] != [RATE]:
        return []
    found = [
        sensitivity_over(trials, points, setting.label)
        for setting, points in zip(results.settings, points_of, strict=True)
    ]
    return [each for each in found if each]
