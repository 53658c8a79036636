"""Which characters a step sees, as pure functions.

S seed, B sample of a batch, T position, N window. A window is T + 1 tokens: the first T are the input, the last T its
targets.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gpt.randomness import integers, integers_of_steps

STREAM = "batches"
REPEATED = "repeated characters"


def training_batch(
    train: NDArray[np.int64], seeds: Sequence[int], step: int, samples: range, context: int
) -> NDArray[np.int64]:
    """Windows for one step, drawn with replacement and uniformly over every start; shape (S, B, T + 1).

    A window depends on (seed, step, sample) alone, so neither the packing of seeds nor the layout of ranks changes it.

    Args:
        samples: which samples of the whole batch are wanted; a rank asks for its own.
    """
    bound = len(train) - context
    wanted = slice(samples.start, samples.stop, samples.step)
    starts_SB = np.stack([integers(seed, STREAM, samples.stop, bound, step)[wanted] for seed in seeds])
    return sliding_window_view(train, context + 1)[starts_SB]


def batch_starts(
    train: NDArray[np.int64], seeds: Sequence[int], steps: range, samples: range, context: int
) -> NDArray[np.int64]:
    """Where the windows of `training_batch` begin, of many steps at once, shape (steps, S, B)."""
    starts = integers_of_steps(seeds, STREAM, samples.stop, len(train) - context, steps)
    return starts[..., samples.start : samples.stop : samples.step]


def repeated_windows(count: int, context: int, vocabulary: int) -> NDArray[np.int64]:
    """Random characters, each window's second half the first once more, shape (N, T); the same in every run."""
    half = -(-context // 2)
    halves_NT = integers(0, REPEATED, count * half, vocabulary).reshape(count, half)
    return np.concatenate([halves_NT, halves_NT], axis=1)[:, :context]


def spread_windows(val: NDArray[np.int64], count: int, length: int) -> NDArray[np.int64]:
    """Windows spread evenly over the validation text, shape (N, X + 1): as many as asked for, where it has so many.

    Args:
        length: X, at most one less than the text has characters.
    """
    last = len(val) - length - 1
    starts = np.linspace(0, last, min(count, last + 1)).astype(np.int64)
    return sliding_window_view(val, length + 1)[starts]


def consecutive_windows(text: NDArray[np.int64], context: int) -> NDArray[np.int64]:
    """A text cut into consecutive windows, shape (N, T + 1), each target in one window only.

    Each window's last token is the next one's first. Fewer than T characters at the end are left out.
    """
    if len(text) <= context:
        return np.empty((0, context + 1), dtype=np.int64)
    return sliding_window_view(text, context + 1)[::context].copy()
