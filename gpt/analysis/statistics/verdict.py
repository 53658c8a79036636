"""What a comparison allows to say, after correction for the others that it is reported with."""

import math
from collections.abc import Sequence
from typing import Literal

from gpt.analysis.statistics.means import check_share
from gpt.analysis.statistics.paired import PairedContrast
from gpt.analysis.statistics.sign_flips import fewest_pairs
from gpt.errors import InputError

Verdict = Literal["different", "equivalent", "different but smaller than matters", "inconclusive"]


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
