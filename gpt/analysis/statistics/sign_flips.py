"""The sign-flip test of paired differences: exact as long as all flips can be enumerated."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt.analysis.statistics.means import check_pairs, value_array
from gpt.errors import InputError

EXACT_PAIRS = 20
"""largest number of pairs whose sign flips are all enumerated"""
DRAWS = 99_999
"""random sign flips where there are more pairs than that"""


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
    check_pairs(n)
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
