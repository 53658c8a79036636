"""Whether differences are skewed, where sign flips and t tests reject a true mean of 0 too often; and a test that then
does so least.

Which test: in thousands of samples of 6, 8, 10 and 20 differences with a true mean of 0, the t test at 0.05 rejected 16
to 18 % of small lognormal ones (13 % of 20) and 8 to 12 % of exponential ones, and sign flips and Wilcoxon's test
nearly as many. Yuen's test of the trimmed mean rejected 26 to 35 % of the lognormal ones: the middle of a skewed
distribution is not its mean. Hall's transformed t, which asks about the mean, rejected 7 to 10 % and 5 to 7 %.
(Johnson's modified t, without the cubic term, rejected up to a hundredth fewer; but it does not rise with t, so that a
large difference with the opposite skew can come out as none.) It has less power than the t test where differences are
normal (.75 for .80 at 10), so that it stands beside the verdict and does not decide.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt.analysis.statistics.means import value_array

RARE = 0.05
"""differences are called skewed where so few normal samples of their number are as skewed"""
SAMPLES = 20_000
"""normal samples that tell; always the same ones"""
FEWEST = 4
"""differences; of fewer, shape says nothing"""


@dataclass(frozen=True)
class Skewness:
    """The shape of the finite differences; NaN below `FEWEST` of them and where they do not vary."""

    skewness: float
    """G1, adjusted for the number of differences; above 0 where the long tail is on the right"""
    p_normal: float
    """share of normal samples of this size that are at least as skewed, either way"""
    p_hall: float
    """two-sided p of Hall's transformed t test that the mean is 0; not corrected"""

    @property
    def skewed(self) -> bool:
        return self.p_normal <= RARE


def skewness(differences: ArrayLike) -> Skewness:
    """Shape of the differences, and the test of their mean that allows for it.

    Raises:
        InputError: `differences` are no flat list of numbers.

    Source: Hall (1992), JRSS B 54:221, the cubic transformation.
    """
    from scipy import stats

    values = value_array(differences, "differences")
    values = values[np.isfinite(values)]
    n = len(values)
    if n < FEWEST or not values.std() > 1e-12 * np.abs(values).max():
        return Skewness(math.nan, math.nan, math.nan)
    g1 = float(_skewness(values[None])[0])
    t = values.mean() / values.std(ddof=1) * math.sqrt(n)
    a = g1 / math.sqrt(n)
    transformed = t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6
    normal = _of_normal_samples(n)
    p_normal = float((np.searchsorted(-normal, -abs(g1), side="right") + 1) / (SAMPLES + 1))
    return Skewness(g1, p_normal, float(2 * stats.t.sf(abs(transformed), n - 1)))


def _skewness(values_RN: NDArray[np.float64]) -> NDArray[np.float64]:
    """G1 of each row."""
    n = values_RN.shape[1]
    from_mean = values_RN - values_RN.mean(axis=1, keepdims=True)
    variance = (from_mean**2).mean(axis=1)
    return (from_mean**3).mean(axis=1) / variance**1.5 * math.sqrt(n * (n - 1)) / (n - 2)


@cache
def _of_normal_samples(n: int) -> NDArray[np.float64]:
    """Absolute skewness of samples of n normal numbers, the largest first."""
    from scipy import special

    bits = np.random.Philox(key=n).random_raw(SAMPLES * n) >> np.uint64(11)
    normal = special.ndtri((bits + 0.5) / 2.0**53).reshape(SAMPLES, n)
    return np.sort(np.abs(_skewness(normal)))[::-1]
