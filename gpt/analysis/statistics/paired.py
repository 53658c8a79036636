"""Statistics of paired seeds: intervals, exact tests, equivalence, power.

The same seed in two variants is a pair, and everything here works on the per-seed values of one metric, in seed order.
Differences are b - a. A value that is not finite cannot be averaged: its pair is counted in `left_out`, so a result
with `left_out > 0` is of the surviving pairs only and belongs next to `gpt.analysis.statistics.failures`, which
counts every run.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt.errors import InputError

Floats = NDArray[np.float64]
Verdict = Literal["different", "equivalent", "different but smaller than matters", "inconclusive"]

EXACT_PAIRS = 20
"""largest number of pairs whose sign flips are all enumerated"""
DRAWS = 99_999
"""random sign flips where there are more pairs than that"""


@dataclass(frozen=True)
class Interval:
    low: float
    """lower end, in the unit of what it encloses"""
    high: float
    """upper end, same unit"""


@dataclass(frozen=True)
class MeanInterval:
    """A mean and its t interval; NaN where `n` is too small to tell."""

    mean: float
    """metric units"""
    sd: float
    """standard deviation over seeds (n - 1 in the denominator), metric units"""
    low: float
    """lower end of the interval of the mean, metric units"""
    high: float
    """upper end, metric units"""
    n: int
    """finite values"""
    left_out: int
    """values that are not finite, which the mean says nothing about"""


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


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> MeanInterval:
    """Mean of one value per seed, with its t interval.

    Raises:
        InputError: `values` are not a flat list of numbers, or `confidence` is not between 0 and 1.
    """
    tail = _tail(confidence)
    everything = value_array(values, "values")
    finite = everything[np.isfinite(everything)]
    mean, sd = _moments(finite, rounding_of(finite))
    margin = _margin(sd, len(finite), tail)
    return MeanInterval(mean, sd, mean - margin, mean + margin, len(finite), len(everything) - len(finite))


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
    tail = _tail(confidence)
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
    mean, sd = _moments(kept, rounding)
    margin = _margin(sd, n, tail)
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


def sign_flip_p(differences: ArrayLike, rounding: float = 0.0) -> float:
    """Two-sided p of the mean difference if the sign of every difference were a fair coin; NaN without differences.

    Up to EXACT_PAIRS differences every flip is enumerated; beyond, DRAWS flips are drawn, always the same ones, and
    p = (as extreme + 1) / (DRAWS + 1), which keeps the test valid (Phipson and Smyth 2010, section 3).

    Args:
        differences: finite numbers.
        rounding: error that each difference may carry; sums that tie within it are ties.

    Raises:
        InputError: `differences` are not a flat list of numbers.
    """
    values = value_array(differences, "differences")
    n = len(values)
    if n == 0:
        return math.nan
    limit = abs(values.sum()) - 1e-12 * np.abs(values).sum() - n * rounding
    if n > EXACT_PAIRS:
        sums = np.zeros(DRAWS)
        for value, heads in zip(values, drawn_heads(n), strict=True):
            sums += np.where(heads, value, -value)
        return (int(np.sum(np.abs(sums) >= limit)) + 1) / (DRAWS + 1)
    sums = values[:1]  # the first sign stays: flipping all signs changes no absolute sum
    for value in values[1:]:
        sums = np.concatenate([sums + value, sums - value])
    return float(np.mean(np.abs(sums) >= limit))


def drawn_heads(n: int) -> Iterator[NDArray[np.bool_]]:
    """For each of n differences, in which of the DRAWS flips it keeps its sign; always the same ones."""
    bits = np.random.Philox(key=0)
    for _ in range(n):
        yield np.unpackbits(bits.random_raw(DRAWS // 64 + 1).view(np.uint8))[:DRAWS].astype(bool)


def smallest_p(n: int, ties: int = 0) -> float:
    """The smallest p that `sign_flip_p` can reach with n differences: only no flip and all flipped are as extreme.

    Args:
        ties: how many of the differences are zero; their flips change nothing, so they count as if they were not there.

    Raises:
        InputError: n is negative.
    """
    _check_pairs(n)
    enumerated = min(1.0, 2.0 ** (1 - n + ties))
    return enumerated if n <= EXACT_PAIRS else max(enumerated, 1 / (DRAWS + 1))


def fewest_pairs(alpha: float) -> int:
    """With how many differences `sign_flip_p` can fall to `alpha`.

    Raises:
        InputError: not even its random flips could.
    """
    enough = next((n for n in range(1, EXACT_PAIRS + 2) if smallest_p(n) <= alpha), None)
    if enough is None:
        raise InputError(f"alpha: got {alpha:g}, must be at least {1 / (DRAWS + 1):g}, the least p of random flips")
    return enough


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted by Holm's step-down procedure; NaN stays NaN and is not counted as a comparison.

    Raises:
        InputError: a p value is outside [0, 1].

    Source: Holm (1979), Scandinavian Journal of Statistics 6:65.
    """
    for p in p_values:
        if not (0 <= p <= 1 or math.isnan(p)):
            raise InputError(f"p_values: got {p:g}, must be between 0 and 1")
    adjusted = [math.nan] * len(p_values)
    counted = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    largest = 0.0
    for rank, (p, i) in enumerate(counted):
        largest = max(largest, min(1.0, (len(counted) - rank) * p))
        adjusted[i] = largest
    return adjusted


def verdict(
    contrast: PairedContrast, p_adjusted: float, p_equivalence: float, family: int = 1, alpha: float = 0.05
) -> Verdict:
    """What the contrast allows to say. Two questions are asked, each with its own test at level `alpha`:

    - is the difference not zero? Yes if `p_adjusted` <= alpha.
    - is it smaller than what matters? Yes if two one-sided t tests give `p_equivalence` <= alpha, no pair was left out,
      for which the survivors cannot vouch, and there are as many pairs as the first question needs to be answered yes
      in a family of that size: two seeds that happen to agree show nothing, and a study that can find no difference
      must not be able to find equality.

    yes, no: "different"; whether the difference matters is then for the interval to say. yes, yes: "different but
    smaller than matters". no, yes: "equivalent". no, no: "inconclusive", which is never evidence of no difference. A
    test that could not be made (NaN, or no smallest effect) answers no. With pairs left out, "different" holds among
    survivors.

    Args:
        p_adjusted: the leading test's p after Holm's correction over the study's contrasts.
        p_equivalence: that of the two one-sided tests against the smallest effect, corrected in the same way.
        family: contrasts that were corrected for together.

    Raises:
        InputError: `alpha` is not between 0 and 1.
    """
    check_share("alpha", alpha)
    different = p_adjusted <= alpha
    small = p_equivalence <= alpha and contrast.left_out == 0 and contrast.n >= fewest_pairs(alpha / max(1, family))
    if different:
        return "different but smaller than matters" if small else "different"
    return "equivalent" if small else "inconclusive"


def power(n: int, effect: float, alpha: float = 0.05) -> float:
    """Probability that a two-sided paired t test of n pairs rejects at `alpha` where the true d_z is `effect`.

    Below two pairs there is no test, and the power is 0.

    Raises:
        InputError: n is negative, `effect` is not finite, or `alpha` is below 0.0001 or not below 1.
    """
    _check_pairs(n)
    _check_alpha(alpha)
    if not math.isfinite(effect):
        raise InputError(f"effect: got {effect:g}, must be a finite d_z")
    return _rejection_probability(n, effect, alpha) if n > 1 else 0.0


@cache
def detectable_d_z(n: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """The d_z that a two-sided paired t test of n pairs finds with probability `power`; NaN below two pairs.

    Raises:
        InputError: n is negative, `alpha` is below 0.0001, or `power` is not above `alpha` or exceeds 0.999.
    """
    from scipy import optimize

    _check_pairs(n)
    _check_alpha(alpha)
    if not alpha < power <= 0.999:
        raise InputError(f"power: got {power:g}, must be above alpha {alpha:g} and at most 0.999")
    if n < 2:
        return math.nan
    top = 1.0
    while _rejection_probability(n, top, alpha) < power:
        top *= 2
    return float(optimize.brentq(lambda effect: _rejection_probability(n, effect, alpha) - power, 0.0, top))


def _rejection_probability(n: int, effect: float, alpha: float) -> float:
    from scipy import stats

    critical = stats.t.isf(alpha / 2, n - 1)
    center = abs(effect) * math.sqrt(n)
    # scipy's nct fails far out, where the tails are 0 and 1 to the last bit; its sf lasts longer than its cdf, so the
    # lower tail is taken as the upper one of the mirror image
    centers = np.array([min(center, 10 * critical + 40), max(-center, -40.0)])
    return float(stats.nct.sf(critical, n - 1, centers).sum())


def value_array(values: ArrayLike, name: str) -> Floats:
    """`values` as a flat array of floats.

    Raises:
        InputError: they are not a flat list of numbers.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: must be one number per seed, got {values!r}") from None
    if array.ndim != 1:
        raise InputError(f"{name}: must be one number per seed, got an array of shape {array.shape}")
    return array


def check_paired(seeds_a: int, seeds_b: int) -> None:
    """Raise InputError unless both variants have equally many seeds."""
    if seeds_a != seeds_b:
        raise InputError(f"paired seeds: got {seeds_a} of a and {seeds_b} of b, must be the same seeds")


def check_share(name: str, value: float) -> None:
    """Raise InputError unless 0 < value < 1."""
    if not 0 < value < 1:
        raise InputError(f"{name}: got {value:g}, must be between 0 and 1")


def _check_pairs(n: int) -> None:
    if n < 0:
        raise InputError(f"n: got {n}, must be a number of pairs")


def _check_alpha(alpha: float) -> None:
    if not 1e-4 <= alpha < 1:
        raise InputError(f"alpha: got {alpha:g}, must be at least 0.0001 and below 1")


def _check_effect(smallest_effect: float | None) -> None:
    if smallest_effect is not None and not 0 < smallest_effect < math.inf:
        raise InputError(f"smallest_effect: got {smallest_effect:g}, must be a positive number of metric units")


def _tail(confidence: float) -> float:
    """Probability on either side of an interval."""
    check_share("confidence", confidence)
    return (1 - confidence) / 2


def rounding_of(values: Floats) -> float:
    """Size of the rounding errors in a difference of two such values."""
    return 4 * float(np.finfo(np.float64).eps * np.max(np.abs(values), initial=0.0))


def _moments(values: Floats, rounding: float) -> tuple[float, float]:
    """Mean and standard deviation; what is only rounding counts as zero, so that no test takes it for precision."""
    if len(values) == 0:
        return math.nan, math.nan
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, math.nan
    if np.ptp(values) <= rounding:
        return (0.0 if abs(mean) <= rounding else mean), 0.0
    return mean, float(np.std(values, ddof=1))


def _margin(sd: float, n: int, tail: float) -> float:
    """Half the width of the t interval of a mean."""
    from scipy import stats

    return float(stats.t.isf(tail, n - 1)) * sd / math.sqrt(n) if n > 1 else math.nan


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
