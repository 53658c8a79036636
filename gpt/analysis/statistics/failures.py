"""Comparisons that count every run, the failed ones included.

A mean over the runs that survived says nothing about a variant that rarely survives. Here failure is an outcome of
its own (`failure_contrast`) or the worst outcome there is (`rank_contrast`).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt.analysis.statistics.means import Interval, check_paired, check_share, value_array
from gpt.errors import InputError


@dataclass(frozen=True)
class FailureContrast:
    """How often two variants fail over the same seeds; rates and p values are NaN without seeds."""

    n: int
    """seeds, each run in both variants"""
    failed_a: int
    """seeds that failed in variant a"""
    failed_b: int
    """seeds that failed in variant b"""
    failed_both: int
    """seeds that failed in both"""
    rate_a: float
    """share of the seeds that failed in variant a"""
    rate_b: float
    """share of the seeds that failed in variant b"""
    interval_a: Interval
    """exact (Clopper-Pearson) interval of the true rate of variant a, share"""
    interval_b: Interval
    """the same for variant b, share"""
    p_paired: float
    """two-sided p of McNemar's exact test, on the seeds that failed in one variant alone; 1 where there is none"""
    p_unpaired: float
    """two-sided p of Boschloo's exact test, which takes the seeds of a and b for unrelated"""


@dataclass(frozen=True)
class RankContrast:
    """Which variant does better seed by seed, a failed run being worse than any that is not."""

    n: int
    """seeds, each run in both variants"""
    wins: int
    """seeds in which b is better than a"""
    losses: int
    """seeds in which b is worse than a"""
    ties: int
    """seeds with equal values in both, or failed in both; the test leaves them out"""
    probability_b_better: float
    """share of seeds in which b is better, ties counted half; NaN without seeds"""
    p_sign: float
    """two-sided p of the exact sign test on wins and losses; 1 where all seeds tie, NaN without seeds"""


def failure_contrast(failed_a: ArrayLike, failed_b: ArrayLike, confidence: float = 0.95) -> FailureContrast:
    """Compare how often variants a and b fail.

    Args:
        failed_a: one truth value per seed.
        failed_b: the same seeds, in the same order.

    Raises:
        InputError: they are not equally long flat lists of truth values, or `confidence` is not between 0 and 1.

    Sources: Clopper and Pearson (1934), Biometrika 26:404; McNemar (1947), Psychometrika 12:153; Boschloo (1970),
        Statistica Neerlandica 24:1.
    """
    check_share("confidence", confidence)
    flags_a, flags_b = _flags(failed_a, "failed_a"), _flags(failed_b, "failed_b")
    check_paired(len(flags_a), len(flags_b))
    n, count_a, count_b = len(flags_a), int(flags_a.sum()), int(flags_b.sum())
    return FailureContrast(
        n=n,
        failed_a=count_a,
        failed_b=count_b,
        failed_both=int((flags_a & flags_b).sum()),
        rate_a=count_a / n if n else math.nan,
        rate_b=count_b / n if n else math.nan,
        interval_a=_rate_interval(count_a, n, confidence),
        interval_b=_rate_interval(count_b, n, confidence),
        p_paired=_sign_p(int((flags_b & ~flags_a).sum()), int((flags_a & ~flags_b).sum())) if n else math.nan,
        p_unpaired=_boschloo_p(count_a, count_b, n),
    )


def rank_contrast(
    a: ArrayLike,
    b: ArrayLike,
    failed_a: ArrayLike,
    failed_b: ArrayLike,
    lower_is_better: bool = True,
) -> RankContrast:
    """Compare variants a and b by which is better in each seed, with failure worst.

    A failed run loses against every run that did not fail and ties with a failed one, whatever its value.

    Args:
        a: one value per seed.
        b: the same seeds, in the same order.
        failed_a: one truth value per seed.
        failed_b: the same for b.
        lower_is_better: the metric is a loss; False for an accuracy.

    Raises:
        InputError: the four are not equally long flat lists, or a value is not finite where its run did not fail.
            A caller with runs that failed or did not run leaves those pairs out, and says so.
    """
    scores_a = _scores(a, failed_a, "a", lower_is_better)
    scores_b = _scores(b, failed_b, "b", lower_is_better)
    check_paired(len(scores_a), len(scores_b))
    n = len(scores_a)
    wins, losses = int((scores_b < scores_a).sum()), int((scores_b > scores_a).sum())
    ties = n - wins - losses
    return RankContrast(
        n=n,
        wins=wins,
        losses=losses,
        ties=ties,
        probability_b_better=(wins + ties / 2) / n if n else math.nan,
        p_sign=_sign_p(wins, losses) if n else math.nan,
    )


def _flags(failed: ArrayLike, name: str) -> NDArray[np.bool_]:
    flags = np.asarray(failed)
    if flags.ndim != 1 or (flags.size and flags.dtype != np.bool_):
        raise InputError(f"{name}: must be one truth value per seed, got {failed!r}")
    return flags.astype(np.bool_)


def _scores(values: ArrayLike, failed: ArrayLike, name: str, lower_is_better: bool) -> NDArray[np.float64]:
    """Values with the sign that makes lower better, and infinity where failed."""
    array, flags = value_array(values, name), _flags(failed, f"failed_{name}")
    if len(array) != len(flags):
        raise InputError(f"{name}: got {len(array)} values and {len(flags)} truth values, must be one of each per seed")
    for i in np.flatnonzero(~flags & ~np.isfinite(array)):
        raise InputError(f"{name}[{i}]: got {array[i]:g} in a run that did not fail, must be finite")
    return np.where(flags, math.inf, array if lower_is_better else -array)


def _sign_p(heads: int, tails: int) -> float:
    """Two-sided exact p of that many heads and tails if the coin is fair."""
    from scipy import stats

    return float(stats.binomtest(heads, heads + tails).pvalue) if heads + tails else 1.0


def _rate_interval(count: int, n: int, confidence: float) -> Interval:
    from scipy import stats

    if n == 0:
        return Interval(math.nan, math.nan)
    interval = stats.binomtest(count, n).proportion_ci(confidence, method="exact")
    return Interval(float(interval.low), float(interval.high))


def _boschloo_p(count_a: int, count_b: int, n: int) -> float:
    from scipy import stats

    if n == 0:
        return math.nan
    return float(stats.boschloo_exact([[count_a, count_b], [n - count_a, n - count_b]]).pvalue)
