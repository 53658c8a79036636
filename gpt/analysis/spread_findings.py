"""What the findings say of a study of seeds: the spread between runs by source."""

from dataclasses import dataclass, field
from typing import Literal

from gpt.analysis.measured import Measured
from gpt.analysis.statistics.variance import Components, Shared

Source = Literal["init", "order", "residual"]
"""of the variance between runs: seed of the weights, seed of the batches, what belongs to a pair of them"""


@dataclass(frozen=True)
class Pairs:
    """Pairs that find the smallest effect with a power of 80 %; None: more than 10,000."""

    sd: int | None
    low: int | None
    high: int | None


@dataclass(frozen=True)
class SecondarySpread:
    mean: Measured[float]
    sds: Measured[dict[Source, float]]


@dataclass(frozen=True)
class SpreadDuringTraining:
    """Standard deviation of the validation loss by source, at every evaluation."""

    steps: list[int]
    init: Measured[list[float]]
    order: Measured[list[float]]
    residual: Measured[list[float]]


@dataclass(frozen=True, kw_only=True)
class SpreadFindings:
    """The spread between runs by source; nothing is decomposed while a run is missing or failed."""

    planned: int
    finished: int
    failed: int
    split: Measured[Components] | None = None
    pairs: dict[Shared, Pairs] = field(default_factory=dict)
    secondary: dict[str, SecondarySpread] = field(default_factory=dict)
    during_training: SpreadDuringTraining | None = None
