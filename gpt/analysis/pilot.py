"""What a pilot study says of how many seeds a further one needs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gpt.analysis.collect import Results
from gpt.analysis.statistics.contrasts import Contrast
from gpt.analysis.statistics.planning import PairsNeeded, Planning, planning
from gpt.analysis.verdicts import corrected_contrasts
from gpt.errors import InputError
from gpt.records.formatting import count


@dataclass(frozen=True)
class ContrastPower:
    """One contrast of the pilot."""

    a: str
    b: str
    setting: str
    """`optim.lr = 0.001`; empty where nothing is crossed"""
    pairs: int
    """whose differences the spread is of"""
    failed: int
    """pairs with a failed run"""
    note: str
    """what those make of the spread; empty where none failed"""
    difference: float
    """mean of b - a, metric units"""
    planning: Planning


@dataclass(frozen=True)
class StudyPower:
    """A pilot as `gpt study power` answers."""

    name: str
    metric: str
    unit: str
    contrasts: list[ContrastPower]

    def __str__(self) -> str:
        lines = [f"{self.name}: pairs that find a true difference of {self.metric}, in {self.unit}"]
        for each in self.contrasts:
            found = each.planning
            setting = f", {each.setting}" if each.setting else ""
            lines += [
                f"  {each.b} vs {each.a}{setting}: sd of {count(each.pairs, 'difference')} {found.sd.sd:.3g} "
                f"(95 % interval {found.sd.low:.3g} to {found.sd.high:.3g})",
                *([f"    {each.note}"] if each.note else []),
                *_needed("smallest that matters", found.smallest_effect),
                *_needed("observed", found.observed_effect),
            ]
        return "\n".join([
            *lines,
            f"by the paired t test at {self.contrasts[0].planning.alpha:.3g}, the first step of Holm's correction; in "
            f"brackets with the sd at the ends of its interval",
        ])  # fmt: skip


def _needed(words: str, needed: Sequence[PairsNeeded]) -> list[str]:
    sizes = [f"{pairs(each.pairs)} [{pairs(each.low)}, {pairs(each.high)}] at {each.power:.0%}" for each in needed]
    return [f"    {needed[0].effect:.3g} ({words}): {', '.join(sizes)}"] if needed else []


def pairs(number: int | float) -> str:
    return "> 10,000" if math.isnan(number) else f"{number:,}"


def failed_pairs(contrast: Contrast) -> int:
    return contrast.failures.failed_a + contrast.failures.failed_b - contrast.failures.failed_both


def failed_note(contrast: Contrast) -> str:
    """What failed runs make of the spread that a study is planned from; empty where none failed."""
    if not (failed := failed_pairs(contrast)):
        return ""
    counted = "left out: the spread is of survivors alone"
    if contrast.scored:
        counted = (
            f"counted as {contrast.failed_score:.4g}: the spread is of these scores too, not of trained runs alone"
        )
    return f"a run failed in {failed} of {count(len(contrast.seeds), 'pair')} and is {counted}"


def study_power(results: Results) -> StudyPower:
    """Pairs for 80 and 90 % power at the smallest and the observed effect of every contrast.

    Raises:
        InputError: the study has no contrasts, or none with two pairs.
    """
    study = results.study
    if study.kind == "components":
        raise InputError(f"{study.name}: has no contrasts; its report says how many pairs shared seeds take")
    contrasts = []
    for each in corrected_contrasts(results):
        contrast = each.contrast
        if found := planning(contrast.paired, study.smallest_effect, each.family):
            contrasts.append(ContrastPower(
                a=contrast.a,
                b=contrast.b,
                setting=contrast.setting,
                pairs=contrast.paired.n,
                failed=failed_pairs(contrast),
                note=failed_note(contrast),
                difference=contrast.paired.mean_difference,
                planning=found,
            ))  # fmt: skip
    if not contrasts:
        raise InputError(f"{study.name}: no contrast has two pairs yet, which a spread takes")
    metric = results.metric
    return StudyPower(study.name, metric.title, metric.scalar.unit, contrasts)
