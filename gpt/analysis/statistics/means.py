"""Means with their t intervals, and what values must be that are averaged."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt.errors import InputError

Floats = NDArray[np.float64]


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


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> MeanInterval:
    """Mean of one value per seed, with its t interval.

    Raises:
        InputError: `values` are not a flat list of numbers, or `confidence` is not between 0 and 1.
    """
    tail = tail_probability(confidence)
    everything = value_array(values, "values")
    finite = everything[np.isfinite(everything)]
    mean, sd = moments(finite, rounding_of(finite))
    margin = t_margin(sd, len(finite), tail)
    return MeanInterval(mean, sd, mean - margin, mean + margin, len(finite), len(everything) - len(finite))


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


def check_pairs(n: int) -> None:
    if n < 0:
        raise InputError(f"n: got {n}, must be a number of pairs")


def tail_probability(confidence: float) -> float:
    """Probability on either side of an interval."""
    check_share("confidence", confidence)
    return (1 - confidence) / 2


def rounding_of(values: Floats) -> float:
    """Size of the rounding errors in a difference of two such values."""
    return 4 * float(np.finfo(np.float64).eps * np.max(np.abs(values), initial=0.0))


def moments(values: Floats, rounding: float) -> tuple[float, float]:
    """Mean and standard deviation; what is only rounding counts as zero, so that no test takes it for precision."""
    if len(values) == 0:
        return math.nan, math.nan
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, math.nan
    if np.ptp(values) <= rounding:
        return (0.0 if abs(mean) <= rounding else mean), 0.0
    return mean, float(np.std(values, ddof=1))


def t_margin(sd: float, n: int, tail: float) -> float:
    """Half the width of the t interval of a mean."""
    from scipy import stats

    return float(stats.t.isf(tail, n - 1)) * sd / math.sqrt(n) if n > 1 else math.nan
