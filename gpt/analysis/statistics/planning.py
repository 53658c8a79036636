"""How many pairs a study needs, from what a pilot showed of the spread of its differences."""

import math
from dataclasses import dataclass

from gpt.analysis.statistics.paired import PairedContrast
from gpt.analysis.statistics.variance import Spread, pairs_needed, sd_factors

POWERS = (0.8, 0.9)


@dataclass(frozen=True)
class PairsNeeded:
    """Pairs that find a true difference; NaN: more than 10,000."""

    effect: float
    """the true difference, metric units"""
    power: float
    """probability of finding it"""
    pairs: int | float
    low: int | float
    """with the sd at the lower end of its interval"""
    high: int | float
    """with the sd at the upper end"""


@dataclass(frozen=True)
class Planning:
    """What a comparison like this one needs, by the paired t test; never fewer than sign flips need."""

    sd: Spread
    """of the differences, with its 95 % interval for normal ones"""
    alpha: float
    """level of the test: that of the first step of Holm's correction"""
    smallest_effect: list[PairsNeeded]
    """at 80 and 90 % power"""
    observed_effect: list[PairsNeeded]
    """the same for the difference that was seen, which is uncertain itself"""


def planning(contrast: PairedContrast, smallest_effect: float, family: int, alpha: float = 0.05) -> Planning | None:
    """What a new study needs whose differences spread like these; None below two pairs.

    Args:
        family: contrasts that are corrected for together.
    """
    if contrast.n < 2:
        return None
    low, high = sd_factors(contrast.n - 1)
    sd = Spread(contrast.sd_difference, low * contrast.sd_difference, high * contrast.sd_difference)
    level = alpha / max(1, family)

    def pairs(spread: float, effect: float, power: float) -> int | float:
        found = pairs_needed(spread, effect, level, power)
        return math.nan if found is None else found

    def needed(effect: float) -> list[PairsNeeded]:
        spreads = (sd.sd, sd.low, sd.high)
        return [PairsNeeded(effect, power, *(pairs(each, effect, power) for each in spreads)) for power in POWERS]

    observed = abs(contrast.mean_difference)
    return Planning(sd, level, needed(smallest_effect), needed(observed) if math.isfinite(observed) else [])
