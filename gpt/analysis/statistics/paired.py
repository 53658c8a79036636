"""Paired seeds: the difference of two variants with interval, tests and effect size.

The same seed in two variants is a pair, and everything here works on the per-seed values of one metric, in seed order.
Differences are b - a. A value that is not finite cannot be averaged: its pair is counted in `left_out`, so a result
with `left_out > 0` is of the surviving pairs only and belongs next to `gpt.analysis.statistics.failures`, which
counts every run.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gpt.analysis.statistics.means import (
    Floats,
    Interval,
    check_paired,
    moments,
    rounding_of,
    t_margin,
    tail_probability,
    value_array,
)
from gpt.analysis.statistics.power import detectable_d_z
from gpt.analysis.statistics.sign_flips import EXACT_PAIRS, sign_flip_p, smallest_p
from gpt.errors import InputError


@dataclass(frozen=True)
class PairedContrast:
    """A paired comparison of variant b with variant a; NaN where `n` is too small to tell."""

    n: int
    """pairs in which both values are finite; everything below is about these"""
    left_out: int
    """pairs with a value that is not finite"""
    mean_difference: float
    """mean of b - a, metric units"""
    sd_difference: float
    """standard deviation of b - a over seeds, metric units"""
    low: float
    """lower end of the t interval of the mean difference, metric units"""
    high: float
    """upper end, metric units"""
    p_t: float
    """two-sided p of the paired t test"""
    p_sign_flip: float
    """two-sided p of the sign-flip test of the mean difference"""
    sign_flip_exact: bool
    """all 2**n sign flips were enumerated, rather than drawn at random"""
    smallest_p: float
    """the smallest p that the sign-flip test can reach with n pairs, of which those with equal values tell nothing"""
    d_z: float
    """mean difference over its standard deviation, no unit; NaN where the differences do not vary"""
    d_z_low: float
    """lower end of the interval of d_z, by the noncentral t distribution, no unit"""
    d_z_high: float
    """upper end, no unit"""
    correlation: float
    """Pearson correlation of a and b over pairs; NaN below 3 pairs or where a or b does not vary"""
    probability_b_lower: float
    """share of pairs with b < a, ties counted half"""
    minimum_detectable_d_z: float
    """d_z that a two-sided t test at 0.05, not corrected for other contrasts, finds with a power of 80 %; no unit"""
    minimum_detectable_difference: float
    """the same in metric units, taking the observed standard deviation for the true one"""
    p_equivalence: float
    """p of two one-sided t tests against -smallest_effect and +smallest_effect; NaN if that is None"""
    differences: list[float]
    """b - a of every pair, left-out ones as NaN, in seed order, metric units"""


def paired_contrast(
    a: ArrayLike, b: ArrayLike, smallest_effect: float | None, confidence: float = 0.95
) -> PairedContrast:
    """Compare variant b with variant a, seed by seed.

    No pairs: every number is NaN, but smallest_p is 1. One pair: its difference is the mean, p_sign_flip is 1, what
    needs a standard deviation is NaN. Differences that do not vary beyond rounding: the standard deviation is 0, the
    interval is the mean alone, d_z is NaN, and the t tests give their limits: p_t is 1 for a mean of zero, else 0.

    Args:
        a: one value per seed; not finite where the seed has none to average.
        b: the same seeds, in the same order.
        smallest_effect: the smallest difference that matters, metric units, or None if the study names none.

    Raises:
        InputError: `a` and `b` are not equally long flat lists of numbers, `smallest_effect` is not a positive number,
            or `confidence` is not between 0 and 1.

    Sources: exact sign flips, Fisher, The Design of Experiments (1935), section 21; d_z, Lakens (2013), Frontiers in
        Psychology 4:863, equation 6; two one-sided tests, Schuirmann (1987), J. Pharmacokinetics 15:657.
    """
    tail = tail_probability(confidence)
    _check_effect(smallest_effect)
    all_a, all_b = value_array(a, "a"), value_array(b, "b")
    check_paired(len(all_a), len(all_b))
    finite = np.isfinite(all_a) & np.isfinite(all_b)
    finite_a, finite_b = all_a[finite], all_b[finite]
    kept = finite_b - finite_a
    differences = np.full(len(finite), math.nan)
    differences[finite] = kept
    n = len(kept)
    rounding = rounding_of(np.concatenate([finite_a, finite_b]))
    mean, sd = moments(kept, rounding)
    margin = t_margin(sd, n, tail)
    d_z = mean / sd if sd > 0 else math.nan
    d_z_interval = _d_z_interval(d_z, n, tail)
    detectable = detectable_d_z(n)
    return PairedContrast(
        n=n,
        left_out=len(finite) - n,
        mean_difference=mean,
        sd_difference=sd,
        low=mean - margin,
        high=mean + margin,
        p_t=2.0 * _upper_tail(abs(mean), sd, n),
        p_sign_flip=sign_flip_p(kept, rounding),
        sign_flip_exact=n <= EXACT_PAIRS,
        smallest_p=smallest_p(n, ties=int((np.abs(kept) <= rounding).sum())),
        d_z=d_z,
        d_z_low=d_z_interval.low,
        d_z_high=d_z_interval.high,
        correlation=_correlation(finite_a, finite_b),
        probability_b_lower=float(np.mean(kept < 0) + 0.5 * np.mean(kept == 0)) if n else math.nan,
        minimum_detectable_d_z=detectable,
        minimum_detectable_difference=detectable * sd,
        p_equivalence=equivalence_p(mean, sd, n, smallest_effect),
        differences=differences.tolist(),
    )


def _check_effect(smallest_effect: float | None) -> None:
    if smallest_effect is not None and not 0 < smallest_effect < math.inf:
        raise InputError(f"smallest_effect: got {smallest_effect:g}, must be a positive number of metric units")


def _upper_tail(mean: float, sd: float, n: int) -> float:
    """One-sided p of a t test for a mean above zero; with sd 0 the limit of a vanishing sd, NaN below two values."""
    from scipy import stats

    if n < 2:
        return math.nan
    if sd == 0:
        return 0.0 if mean > 0 else 1.0 if mean < 0 else 0.5
    return float(stats.t.sf(mean / sd * math.sqrt(n), n - 1))


def equivalence_p(mean: float, sd: float, n: int, smallest_effect: float | None) -> float:
    """The larger p of the one-sided tests for mean > -smallest_effect and mean < smallest_effect."""
    if smallest_effect is None:
        return math.nan
    return max(_upper_tail(smallest_effect + mean, sd, n), _upper_tail(smallest_effect - mean, sd, n))


def _d_z_interval(d_z: float, n: int, tail: float) -> Interval:
    """All d_z under which the observed one lies in neither tail; NaN beyond |t| = 10,000, where scipy's nct gives out.

    Source: Cumming and Finch (2001), Educational and Psychological Measurement 61:532.
    """
    from scipy import optimize, stats

    t = abs(d_z) * math.sqrt(n)
    if n < 2 or not t < 1e4:
        return Interval(math.nan, math.nan)

    def center(p_above: float) -> float:
        return float(optimize.brentq(lambda c: float(stats.nct.sf(t, n - 1, c)) - p_above, bottom, top))

    bottom = stats.norm.ppf(tail) - 1
    top = t * math.sqrt(stats.chi2.isf(tail / 2, n - 1) / (n - 1)) + stats.norm.isf(tail / 2)
    low, high = center(tail) / math.sqrt(n), center(1 - tail) / math.sqrt(n)
    return Interval(low, high) if d_z >= 0 else Interval(-high, -low)


def _correlation(a: Floats, b: Floats) -> float:
    if len(a) < 3 or np.ptp(a) <= rounding_of(a) or np.ptp(b) <= rounding_of(b):
        return math.nan
    from_mean_a, from_mean_b = a - a.mean(), b - b.mean()
    lengths = float(np.linalg.norm(from_mean_a) * np.linalg.norm(from_mean_b))
    return float(np.clip(from_mean_a @ from_mean_b / lengths, -1.0, 1.0)) if lengths > 0 else math.nan
