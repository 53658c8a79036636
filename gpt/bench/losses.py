"""Whether two trainings of the same recipe learn alike, from different initial weights and batches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW, NOISE_WINDOW = 0.25, 0.5
"""shares of the steps, at the end: what losses are averaged over, and what the noise of batches is taken of"""
FEWEST_STEPS = 20
TOLERANCE = 0.05
"""nats per character that two seeds of one recipe may be apart this early"""
ERRORS = 3.0
"""standard errors of the averages that are allowed besides"""


@dataclass(frozen=True)
class LossComparison:
    """Training losses after the same number of steps, nats per character."""

    steps: int
    ours: float
    """mean over the last steps"""
    theirs: float
    allowed: float
    """difference that different seeds and the noise of batches explain"""

    @property
    def agree(self) -> bool:
        """Whether they learn alike (a loss that is not finite does not)."""
        return abs(self.ours - self.theirs) <= self.allowed

    def __str__(self) -> str:
        verdict = "agree" if self.agree else "DIFFER"
        return (
            f"losses {verdict} after {self.steps} steps: ours {self.ours:.4f}, nanoGPT's {self.theirs:.4f} nats per "
            f"character (other initial weights and batches: up to {self.allowed:.4f} apart is noise)"
        )


def compare_losses(ours: Sequence[float], theirs: Sequence[float]) -> LossComparison:
    """Compare the ends of two loss curves of equal length, of at least `FEWEST_STEPS` steps."""
    assert len(ours) == len(theirs) >= FEWEST_STEPS
    count = round(WINDOW * len(ours))
    mine, other = (float(np.mean(curve[-count:])) for curve in (ours, theirs))
    noise = math.hypot(*(_noise(np.asarray(curve, dtype=np.float64)) for curve in (ours, theirs)))
    return LossComparison(len(ours), mine, other, TOLERANCE + ERRORS * noise / math.sqrt(count))


def _noise(losses_N: NDArray[np.float64]) -> float:
    """Standard deviation of a loss from batch to batch, for which a common descent does not count."""
    last_N = losses_N[-round(NOISE_WINDOW * len(losses_N)) :]
    steps_N = np.arange(len(last_N))
    trend_N = np.polyval(np.polyfit(steps_N, last_N, 1), steps_N)
    return float(np.std(last_N - trend_N, ddof=2))
