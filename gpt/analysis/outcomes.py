"""How a run ended, read off what it recorded: trained, or failed in one of three ways.

Whether a run has learned anything is relative to its text: to what a model gains there that counts pairs of characters
over one that counts characters, which is much in a play and next to nothing in a text of four letters.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Outcome = Literal["done", "too short to tell", "non-finite", "learned nothing", "regressed"]
FAILED: tuple[Outcome, ...] = ("non-finite", "learned nothing", "regressed")
"""outcomes that score as a model that counts characters; the others score what they measured"""

LEARNED_SHARE = 0.1
"""of what bigrams gain over unigrams; a run that does not end so far below the unigram loss has learned nothing"""
REGRESSED_SHARE = 0.1
"""of what a run had learned at its best, below the unigram loss; one that ends so far above its best has regressed"""
FEWEST_STEPS = 100
"""training steps; after fewer, one that learned nothing may just be short"""
WINDOW = 100
"""training losses whose median is the level at a step, but no more than a tenth of the run's"""
STANDARD_ERRORS = 5.0
"""of that median; what is smaller is noise between batches"""


@dataclass(frozen=True)
class Baselines:
    """Losses of models that count, nats per character."""

    unigram: float
    """on validation text"""
    bigram: float
    """on validation text"""
    unigram_train: float
    """on training text"""

    @property
    def enough(self) -> float:
        """How far below the unigram loss a run must end that has learned something; not above 0 where pairs of
        characters tell nothing that characters do not, so that nothing can be told of a run.
        """
        return LEARNED_SHARE * (self.unigram - self.bigram)


@dataclass(frozen=True)
class Ending:
    outcome: Outcome
    why: str = ""
    """in numbers; empty of a run that is done"""


def ending(steps_N: NDArray[np.int64], val_N: Floats, train_T: Floats, baselines: Baselines) -> Ending:
    """How a run ended whose losses all stayed finite.

    A run that overfits may end as high on validation text as one that fell back, but its training loss did not rise.

    Args:
        steps_N: of the evaluations.
        val_N: validation losses.
        train_T: training losses of steps 1, 2, ...
    """
    best, last = int(np.argmin(val_N)), float(val_N[-1])
    lowest, at = float(val_N[best]), int(steps_N[best])
    size = min(WINDOW, max(10, len(train_T) // 10))
    end, at_best = (_level(train_T[max(0, step - size) : step]) for step in (len(train_T), at))
    learned, enough = baselines.unigram - lowest, baselines.enough
    rise, noise = REGRESSED_SHARE * learned, _noise(train_T[-size:])
    if enough > 0 and learned > enough and last - lowest > rise and end - at_best > max(rise, noise):
        return Ending(
            "regressed",
            f"regressed: from step {at:,} its validation loss rose from {lowest:.3f} to {last:.3f}, its training loss "
            f"from {at_best:.3f} to {end:.3f}",
        )
    if not enough > 0 or last < baselines.unigram - enough or end < baselines.unigram_train - enough - noise:
        return Ending("done")
    above = f"its last validation loss {last:.3f} is not {enough:.2g} below the unigram loss {baselines.unigram:.3f}"
    if len(train_T) < FEWEST_STEPS:
        return Ending("too short to tell", f"too short to tell whether it learns: {above} after {len(train_T)} steps")
    third, fourth = np.array_split(train_T, 4)[2:]
    if _level(third) - _level(fourth) > max(enough, _noise(fourth)):
        return Ending("too short to tell", f"too short to tell whether it learns: {above}, but still falling")
    return Ending("learned nothing", f"learned nothing: {above}, a tenth of what bigrams gain")


def _level(losses: Floats) -> float:
    return float(np.median(losses)) if len(losses) else math.nan


def _noise(losses: Floats) -> float:
    """So many standard errors of the level of these losses, by their median distance from it; 0 of none."""
    if not len(losses):
        return 0.0
    spread = 1.4826 * float(np.median(np.abs(losses - np.median(losses))))
    return STANDARD_ERRORS * 1.2533 * spread / math.sqrt(len(losses))
