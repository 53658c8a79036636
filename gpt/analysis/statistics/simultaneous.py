"""Intervals that agree with a corrected p: all differences that the test as shipped would not have rejected.

The plain 95 % t interval of each contrast covers its own difference; of six such intervals one misses more often than
one in twenty times. These cover all m differences of a study together with 95 %, by Bonferroni's inequality, each at
the level 0.05 / m, and they rest on the sign-flip test that decides, not on the t distribution: a difference d is
within the interval where the sign-flip p of (differences - d) exceeds the level.

So an interval excludes 0 exactly where m times the contrast's own p is at most 0.05. Holm's method, which decides,
rejects all of these and may reject more: it compares only the least p with 0.05 / m and later ones with more. A
contrast that is different by such a later step can have an interval with 0 in it, and none that is not different has
one without. (Intervals that agree with every step of Holm's method exist only at the price of not covering all
differences together, or of saying nothing about the size of those rejected: Strassburger and Bretz 2008, Statistics in
Medicine 27:4914.) With one contrast the two are the same.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from gpt.analysis.statistics.means import Floats, Interval, check_share, value_array
from gpt.analysis.statistics.sign_flips import DRAWS, EXACT_PAIRS, drawn_heads


def sign_flip_interval(differences: ArrayLike, level: float, rounding: float = 0.0) -> Interval:
    """All d for which the two-sided sign-flip p of `differences - d` exceeds `level`; infinite where every d does.

    Flipping the signs of some differences makes their sum as extreme as it is exactly if their mean, or that of all
    others, lies beyond d. So the ends are order statistics of the means of all subsets (Hartigan 1969, JASA 64:1303),
    or of as many drawn subsets as `sign_flip_p` draws flips.

    Args:
        differences: finite numbers.
        level: probability that the true centre of symmetric differences is outside.
        rounding: error that each difference may carry; an end within it of 0 is 0.

    Raises:
        InputError: `differences` are no flat list of numbers, or `level` is not between 0 and 1.
    """
    check_share("level", level)
    values = value_array(differences, "differences")
    n = len(values)
    if n == 0:
        return Interval(math.nan, math.nan)
    exact = n <= EXACT_PAIRS
    flipped, counts = _flips(values, exact)
    with np.errstate(divide="ignore", invalid="ignore"):
        own, others = flipped / counts, (values.sum() - flipped) / (n - counts)
    trivial = (counts == 0) | (counts == n)  # as extreme as it is, whatever d
    # p is the share of flips whose lower mean is at or below d; of drawn ones (as many + 1) / (DRAWS + 1)
    rank = math.floor(level * (len(flipped) if exact else DRAWS + 1) * (1 + 1e-12)) - (not exact)
    if rank < 0:
        return Interval(-math.inf, math.inf)
    low = float(np.partition(np.where(trivial, -math.inf, np.minimum(own, others)), rank)[rank])
    high = -float(np.partition(np.where(trivial, -math.inf, -np.maximum(own, others)), rank)[rank])
    nothing = n * rounding + 1e-12 * float(np.abs(values).sum())
    return Interval(*(0.0 if abs(end) <= nothing else end for end in (low, high)))


def _flips(values: Floats, exact: bool) -> tuple[Floats, Floats]:
    """Sum and number of the differences that each flip turns round: all flips but of the first sign, or drawn ones."""
    if not exact:
        heads = np.stack(list(drawn_heads(len(values))))
        return values @ ~heads, np.sum(~heads, axis=0, dtype=np.float64)
    sums, counts = np.zeros(1), np.zeros(1)
    for value in values[1:]:
        sums, counts = np.concatenate([sums, sums + value]), np.concatenate([counts, counts + 1])
    return sums, counts
