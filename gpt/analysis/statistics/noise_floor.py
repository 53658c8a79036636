"""How far runs lie apart that differ in nothing but the seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gpt.analysis.statistics.means import check_share, value_array
from gpt.analysis.statistics.variance import sd_factors


@dataclass(frozen=True)
class NoiseFloor:
    """Standard deviation between seeds, pooled over variants, metric units; NaN where no variant has two values."""

    sd: float
    low: float
    """of the 95 % interval, by the chi-square distribution: it holds for normal values of one spread"""
    high: float
    df: int
    """degrees of freedom: values less variants"""


def noise_floor(variants: Sequence[ArrayLike], confidence: float = 0.95) -> NoiseFloor:
    """The spread that is left when each variant's mean is taken out.

    Args:
        variants: for each, one value a seed; what is not finite is left out.

    Raises:
        InputError: a variant's values are no flat list of numbers, or `confidence` is not between 0 and 1.
    """
    check_share("confidence", confidence)
    finite = [values[np.isfinite(values)] for values in (value_array(each, "values") for each in variants)]
    finite = [values for values in finite if len(values) > 1]
    df = sum(len(values) - 1 for values in finite)
    if not df:
        return NoiseFloor(math.nan, math.nan, math.nan, 0)
    sd = math.sqrt(sum(float(((values - values.mean()) ** 2).sum()) for values in finite) / df)
    low, high = sd_factors(df, confidence)
    return NoiseFloor(sd, low * sd, high * sd, df)
