"""Power of the paired t test, and the difference that it finds."""

import math
from functools import cache

import numpy as np

from gpt.analysis.statistics.means import check_pairs
from gpt.errors import InputError


def power(n: int, effect: float, alpha: float = 0.05) -> float:
    """Probability that a two-sided paired t test of n pairs rejects at `alpha` where the true d_z is `effect`.

    Below two pairs there is no test, and the power is 0.

    Raises:
        InputError: n is negative, `effect` is not finite, or `alpha` is below 0.0001 or not below 1.
    """
    check_pairs(n)
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

    check_pairs(n)
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


def _check_alpha(alpha: float) -> None:
    if not 1e-4 <= alpha < 1:
        raise InputError(f"alpha: got {alpha:g}, must be at least 0.0001 and below 1")
