"""What attention that spreads evenly over all visible positions would score; the level that heads are held against."""

from collections.abc import Callable

import numpy as np

from gpt.records.schema import even_entropy


def distance(context: int) -> float:
    """Mean distance looked back, characters: the mean of t / 2, t = 0..T-1."""
    return (context - 1) / 4


def weight_on_one(context: int) -> float:
    """Mean weight on one given character, the previous or the first, from all positions but the first."""
    return float((1 / np.arange(2, context + 1)).mean()) if context > 1 else 1.0


EVEN: dict[str, Callable[[int], float]] = {
    "attention_entropy": even_entropy,
    "attention_distance": distance,
    "attention_previous": weight_on_one,
    "attention_first": weight_on_one,
}
"""By the name of the probe array; the context is that of a probed window."""
