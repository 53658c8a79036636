"""An interval over text: how far a difference would move on other text of the kind that it was measured on.

Seeds tell how far training varies; all of them are judged by one text, whose windows this draws anew.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gpt.analysis.statistics.means import check_share, value_array

DRAWS = 9_999
SEED = 0
"""of the draws, which are the same for every text and every call"""
FEWEST_WINDOWS = 20
"""below which so few blocks differ that their spread says nothing"""


@dataclass(frozen=True)
class TextInterval:
    """Interval of a mean over the windows of a text."""

    low: float
    """lower end, metric units"""
    high: float
    """upper end, metric units"""
    windows: int
    block: int
    """consecutive windows that were drawn together, as neighbours are alike"""


def block_length(windows: int) -> int:
    """Windows in a block: the cube root of their number, rounded up (Hall, Horowitz and Jing 1995, Biometrika 82:561,
    give that rate for a variance).
    """
    return math.ceil(round(windows ** (1 / 3), 9))


def over_text(values: ArrayLike, confidence: float = 0.95) -> TextInterval | None:
    """Moving-block bootstrap of the mean of consecutive windows' values; None below `FEWEST_WINDOWS`.

    Blocks are drawn with replacement from every start until they hold as many windows as there are; the last is cut.
    Windows near the ends are in fewer blocks, so that the quantiles are taken of the draws minus their own mean.

    Raises:
        InputError: `values` are not a flat list of numbers, or `confidence` is not between 0 and 1.

    Sources: moving blocks, Künsch (1989), Annals of Statistics 17:1217; the centring, Lahiri (2003), Resampling Methods
        for Dependent Data, section 2.5.
    """
    check_share("confidence", confidence)
    values_N = value_array(values, "values")
    count = len(values_N)
    if count < FEWEST_WINDOWS:
        return None
    block = block_length(count)
    blocks = -(-count // block)
    starts_DB = np.random.default_rng(SEED).integers(0, count - block + 1, size=(DRAWS, blocks))
    lengths_B = np.full(blocks, block)
    lengths_B[-1] = count - (blocks - 1) * block
    sums_N = np.concatenate([[0.0], np.cumsum(values_N)])
    means_D = (sums_N[starts_DB + lengths_B] - sums_N[starts_DB]).sum(axis=1) / count
    tail = (1 - confidence) / 2
    low, high = values_N.mean() + np.quantile(means_D - means_D.mean(), [tail, 1 - tail])
    return TextInterval(float(low), float(high), count, block)
