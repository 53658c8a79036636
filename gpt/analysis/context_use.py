"""How a trained model uses its context: what is read off the arrays of a run's `long_range.safetensors`.

T is the trained context. `loss_by_position` (2T,), or (T,) where positions are learned; `context_lengths` and
`context_loss` (K,); `dependency` (T,), the gradient by distance, 0 being the last character itself.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.float64]]


def median_lookback(gradient_T: NDArray[np.float64]) -> float:
    """The fewest last characters that hold half of the gradient with respect to the past; NaN without a gradient."""
    total = gradient_T.sum()
    if not (math.isfinite(total) and total > 0):
        return math.nan
    return float(np.argmax(np.cumsum(gradient_T) >= total / 2) + 1)


def cumulative_share(gradient_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T,) share of the gradient that lies within so many characters, 1 to T; NaN without a gradient."""
    total = gradient_T.sum()
    return np.cumsum(gradient_T) / total if total > 0 else np.full(len(gradient_T), math.nan)


def loss_added_by_cut(arrays: Arrays, characters: int) -> float:
    """Loss when the model sees the last `characters` alone, minus that with the whole context, on the same targets.

    NaN where that cut was not measured, or is none.
    """
    lengths = arrays["context_lengths"].tolist()
    if characters not in lengths[:-1]:
        return math.nan
    loss_K = arrays["context_loss"]
    return float(loss_K[lengths.index(characters)] - loss_K[-1])


def loss_added_beyond(arrays: Arrays) -> float:
    """Mean loss at positions beyond the trained context minus that in the context's later half.

    The earlier half is left out, for there the model has little to look back on. NaN where there are no such positions.
    """
    context = len(arrays["dependency"])
    loss = arrays["loss_by_position"]
    return float(loss[context:].mean() - loss[context // 2 : context].mean()) if len(loss) > context else math.nan
