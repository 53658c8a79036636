"""A paired difference as findings show it beside the primary metric's: described, not tested."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from gpt.analysis.measured import Measured
from gpt.analysis.statistics.paired import paired_contrast


@dataclass(frozen=True)
class MeanDifference:
    """A paired difference, variant minus the first, with its 95 % t interval; not corrected."""

    n: int
    mean: Measured[float]
    low: Measured[float]
    high: Measured[float]

    @classmethod
    def of(cls, first: Sequence[float], other: Sequence[float], **more: str) -> Self:
        """The difference other - first of values in seed order.

        Args:
            more: what a class that derives from this one has beside it.
        """
        contrast = paired_contrast(first, other, None)
        return cls(contrast.n, contrast.mean_difference, contrast.low, contrast.high, **more)
