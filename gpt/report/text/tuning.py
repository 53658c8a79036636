"""What trials chose, in sentences."""

import math

from gpt.analysis.contrast_findings import ContrastFindings, at
from gpt.analysis.findings import Findings
from gpt.analysis.tuning_findings import RateSensitivity, TunedFindings, TuningFindings
from gpt.records.formatting import count, fixed, listed, percent
from gpt.study.plan import fields_text, label


def compared_at(findings: Findings, contrast: ContrastFindings) -> str:
    """At which of their best values the two were compared, and whether the grid may have ended too early for one.

    Empty of a study that tunes nothing, or has chosen nothing yet.
    """
    arms = [arm for name in (contrast.a, contrast.b) if (arm := arm_of(findings.tuning, name, contrast.setting))]
    if not arms or not all(arm.chosen for arm in arms):
        return ""
    each = listed([f"`{arm.variant}` at {fields_text(arm.chosen)}" for arm in arms])
    ends = "".join(f" {end_text(arm)}" for arm in arms if arm.ends)
    untrained = "".join(f" {untrained_text(arm)}" for arm in arms if trained_nowhere(arm))
    return f" Each at its own best: {each}.{ends}{untrained}"


def arm_of(tuning: TuningFindings | None, variant: str, setting: str) -> TunedFindings | None:
    arms = tuning.arms if tuning else []
    return next((arm for arm in arms if (arm.variant, arm.setting) == (variant, setting)), None)


def trained_nowhere(arm: TunedFindings) -> bool:
    """Whether every trial of it failed, so that its best is none."""
    return all(all(point.failed) for point in arm.points)


def untrained_text(arm: TunedFindings) -> str:
    return f"No value of the grid trained `{arm.variant}`: every trial failed, and the one that was taken is no best."


def end_text(arm: TunedFindings) -> str:
    """That a best lies at an end of the grid."""
    ends = listed([f"the {end} end of its grid in {field}" for field, end in arm.ends.items()])
    beyond = listed([f"a {'lower' if end == 'low' else 'higher'} value" for end in arm.ends.values()])
    return f"The best of `{arm.variant}` is at the edge of the grid ({ends}): {beyond} may be better still."


def budget_text(findings: Findings) -> str:
    """How the best values were chosen, and what that cost."""
    tuning, asked = findings.tuning, findings.study.tune
    if tuning is None or asked is None:
        return ""
    points, arms = len(tuning.arms[0].points), len(tuning.arms)
    widened = [
        f"`{field}` by {listed([label(value) for value in new])}"
        for field, values in tuning.grid.items()
        if (new := [value for value in values if value not in asked.grid[field]])
    ]
    more = f" A best at an end of the grid extended it, for all alike: {listed(widened)}." if widened else ""
    failed = (
        f" {count(tuning.failed, 'trial')} failed to train and count with the unigram loss." if tuning.failed else ""
    )
    cost = f" The trials took {percent(tuning.share_of_compute)} of the training compute of this study."
    return (
        f"The same budget for each: {count(points, 'point')} of the grid x {count(len(asked.seeds), 'seed')} in each "
        f"of {count(arms, 'combination')} of variant and setting, {tuning.finished} of {count(tuning.trials, 'trial')} "
        f"finished. The best has the lowest mean {tuning.chosen_by}, which reads validation text alone; the comparison "
        f"uses none of these seeds.{more}{failed}{cost if math.isfinite(tuning.share_of_compute) else ''}"
    )


def sensitivity_text(sensitivity: RateSensitivity, places: int) -> str:
    """How much a variant loses away from its best rate."""
    each = [
        f"{fixed(v.mean.mean, places)} [{fixed(v.mean.low, places)}, {fixed(v.mean.high, places)}] with `{v.label}`"
        for v in sensitivity.variants
        if math.isfinite(v.mean.mean)
    ]
    if not each:
        return ""
    return (
        f"Sensitivity to the learning rate{at(sensitivity.setting)}: averaged over the {len(sensitivity.values)} "
        f"rates, the loss lies above that at the best of them by {listed(each)} (95 % t intervals over the seeds of "
        f"the trials)."
    )
