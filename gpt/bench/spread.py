"""Repeated measurements: their quartiles, and ratios of two that were taken in turns."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

Arm = Callable[[], float]
"""takes one sample, in seconds"""


@dataclass(frozen=True)
class Spread:
    """Quartiles of the samples of one measurement."""

    low: float
    """a quarter of the samples is below"""
    median: float
    high: float
    """a quarter of the samples is above"""
    samples: list[float]
    """in the order in which they were taken"""

    @classmethod
    def of(cls, samples: Sequence[float]) -> Self:
        low, median, high = np.quantile(samples, [0.25, 0.5, 0.75]).tolist()
        return cls(low, median, high, list(samples))

    def over(self, other: "Spread", factor: float = 1.0) -> "Spread":
        """The ratio to another measurement times `factor`, sample by sample: each pair was taken side by side."""
        return Spread.of([factor * a / b for a, b in zip(self.samples, other.samples, strict=True)])


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    """samples of each measurement at most"""
    fewest: int
    """and at least"""
    seconds: float
    """after which a measurement takes no more samples than the fewest"""


FULL = Effort(rounds=21, fewest=5, seconds=15.0)
QUICK = Effort(rounds=2, fewest=2, seconds=0.0)


def alternate(arms: Sequence[Arm], effort: Effort) -> list[Spread]:
    """Take samples of each arm in turns, A B A B, so that a machine that changes its pace changes it for all alike."""
    samples: list[list[float]] = [[] for _ in arms]
    began = time.perf_counter()
    for done in range(effort.rounds):
        if done >= effort.fewest and time.perf_counter() - began > effort.seconds:
            break
        for arm, taken in zip(arms, samples, strict=True):
            taken.append(arm())
    return [Spread.of(taken) for taken in samples]


def stopwatch(work: Callable[[], object], synchronize: Callable[[], None]) -> Arm:
    """An arm that times one piece of work, and what of it a device still has to do afterwards."""

    def sample() -> float:
        synchronize()
        began = time.perf_counter()
        work()
        synchronize()
        return time.perf_counter() - began

    return sample
