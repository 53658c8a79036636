"""One variant against another: the numbers and the verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gpt.analysis.statistics.failures import FailureContrast, RankContrast, failure_contrast, rank_contrast
from gpt.analysis.statistics.means import Interval, mean_interval
from gpt.analysis.statistics.paired import PairedContrast, paired_contrast
from gpt.analysis.statistics.sequential import bounds, sequential_p
from gpt.analysis.statistics.sign_flips import fewest_pairs
from gpt.analysis.statistics.simultaneous import sign_flip_interval
from gpt.analysis.statistics.skewness import Skewness, skewness
from gpt.analysis.statistics.verdict import Verdict, holm, verdict
from gpt.records.metric import Metric

ALPHA = 0.05
"""level of every test"""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Variant b compared with variant a in one setting, over the seeds that finished in both."""

    a: str
    """the study's first variant"""
    b: str
    setting: str
    """`optim.lr = 0.001`; empty where nothing is crossed"""
    metric: str
    smallest_effect: float
    """metric units"""
    planned: int
    """seeds of the study"""
    seeds: list[int]
    """those that finished in both variants"""
    paired: PairedContrast
    """of the values, a failed run having its score; of survivors only where the metric gives no score"""
    rank: RankContrast
    failures: FailureContrast
    survivors: PairedContrast | None
    """of the pairs in which both variants trained; None where no run failed"""
    failed_score: float
    """that of a failed run, in `paired`; NaN where none failed, or the metric gives none"""
    among_survivors: bool
    """a run failed that has no score, so that `paired` is about survivors only"""
    basis: Literal["paired difference", "rank, failure worst"]
    """the comparison that leads; the rule is fixed before the run: by rank where a failed run has no score"""
    p: float
    """of the comparison that leads: sign flips of the differences, or signs alone"""
    smallest_p: float
    """the smallest that `p` can be with this many pairs, of which ties tell nothing"""

    @property
    def scored(self) -> bool:
        """A run failed and counts as `failed_score`, which is the same by convention and shows no spread."""
        return self.survivors is not None and not self.among_survivors


def compare(
    a: str,
    b: str,
    setting: str,
    metric: Metric,
    smallest_effect: float,
    planned: int,
    pairs: Sequence[tuple[int, float, float, bool, bool]],
    failed_score: float = math.nan,
) -> Contrast:
    """Compare two variants.

    Args:
        pairs: seed, value of a, value of b, whether a failed, whether b failed; of each seed finished in both.
        failed_score: what stands for the value of a run that failed; NaN where the metric gives none.
    """
    failed_a, failed_b = [p[3] for p in pairs], [p[4] for p in pairs]
    any_failed = any(failed_a) or any(failed_b)
    by_rank = any_failed and math.isnan(failed_score)

    def values(failed: float) -> tuple[list[float], list[float]]:
        return [failed if p[3] else p[1] for p in pairs], [failed if p[4] else p[2] for p in pairs]

    lower_is_better = metric.scalar.lower_is_better is not False
    paired = paired_contrast(*values(failed_score), smallest_effect)
    rank = rank_contrast(*values(math.nan), failed_a, failed_b, lower_is_better)
    return Contrast(
        a=a,
        b=b,
        setting=setting,
        metric=str(metric),
        smallest_effect=smallest_effect,
        planned=planned,
        seeds=[p[0] for p in pairs],
        paired=paired,
        rank=rank,
        failures=failure_contrast(failed_a, failed_b),
        survivors=paired_contrast(*values(math.nan), smallest_effect) if any_failed else None,
        failed_score=failed_score if any_failed else math.nan,
        among_survivors=by_rank,
        basis="rank, failure worst" if by_rank else "paired difference",
        p=rank.p_sign if by_rank else paired.p_sign_flip,
        smallest_p=min(1.0, 2.0 ** (1 - rank.n + rank.ties)) if by_rank else paired.smallest_p,
    )


@dataclass(frozen=True)
class Equivalence:
    """Whether a difference is smaller than what matters, by two one-sided t tests."""

    low: float
    """of the 90 % t interval, metric units: within the smallest effect exactly where both tests, at 0.05, say so"""
    high: float
    p: float
    """the larger of the two; where a study has looks, over all of them so far"""
    p_adjusted: float
    """by Holm's method over the same tests of the family: of equal claims, any is false with at most 5 %"""
    fewest_pairs: int
    """that the claim takes: as many as a difference does in this family"""


@dataclass(frozen=True)
class CorrectedContrast:
    """A contrast among the contrasts that it is reported with."""

    contrast: Contrast
    p_adjusted: float
    """the contrast's p, where a study has looks over all of them so far, after Holm's correction over the family"""
    family: int
    """contrasts that were corrected for together"""
    verdict: Verdict
    simultaneous: Interval
    """sign-flip interval of the difference, at the last look that was made; those of the family, over all looks, cover
    all differences together with 95 %; NaN where ranks decide, infinite where so few pairs exclude nothing"""
    equivalence: Equivalence
    shape: Skewness


def correct(
    contrasts: Sequence[Contrast], looks: tuple[int, ...] = (), made: Sequence[Sequence[Contrast]] = ()
) -> list[CorrectedContrast]:
    """Correct for all contrasts that are reported together, and say what each allows to say.

    Args:
        looks: pairs at each look that the study plans; none where it has no looks.
        made: the same contrasts at each look that was made.
    """
    own, equal = [each.p for each in contrasts], [_equal(each) for each in contrasts]
    if looks:
        own = [sequential_p([look[i].p for look in made], looks) for i in range(len(contrasts))]
        equal = [sequential_p([_equal_at(look[i]) for look in made], looks, sides=1) for i in range(len(contrasts))]
    adjusted, adjusted_equal = holm(own), holm(equal)
    family = sum(not math.isnan(p) for p in adjusted)
    level = ALPHA / max(1, family)
    fewest = fewest_pairs(level)
    of_interval: Sequence[Contrast | None] = contrasts
    if looks:
        of_interval = made[-1] if made else [None] * len(contrasts)
        level = bounds(looks, level)[len(made) - 1]
    return [
        CorrectedContrast(
            contrast=each,
            p_adjusted=p,
            family=family,
            verdict=verdict(each.paired, p, p_equal, family, ALPHA),
            simultaneous=_simultaneous(whole, level),
            equivalence=Equivalence(*_interval_90(each), alone, p_equal, fewest),
            shape=skewness(each.paired.differences),
        )
        for each, whole, p, alone, p_equal in zip(contrasts, of_interval, adjusted, equal, adjusted_equal, strict=True)
    ]


def _equal(contrast: Contrast) -> float:
    """P of equivalence; 1 where a run failed, for its score shows nothing."""
    return 1.0 if contrast.scored else contrast.paired.p_equivalence


def _equal_at(contrast: Contrast) -> float:
    """The same at a look; NaN where a pair was left out or so few pairs can find no difference."""
    paired = contrast.paired
    return math.nan if paired.left_out or paired.n < fewest_pairs(ALPHA) else _equal(contrast)


def _simultaneous(contrast: Contrast | None, level: float) -> Interval:
    """None before the first look, and where a failed run has no score: the test that decides is then one of ranks."""
    if contrast is None or contrast.among_survivors:
        return Interval(math.nan, math.nan)
    return sign_flip_interval(contrast.paired.differences, level)


def _interval_90(contrast: Contrast) -> tuple[float, float]:
    found = mean_interval(contrast.paired.differences, 1 - 2 * ALPHA)
    return found.low, found.high
