"""What the host makes for each step, made for many steps at once and on the device before it is needed."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt.data.batches import batch_starts

AHEAD = 64
"""steps whose tensors are made at once"""


class Prefetch:
    """A tensor for each step, on the device.

    Those of the steps that come next are made half-way through those before: by then a GPU has work enough not to wait.
    """

    def __init__(self, make: Callable[[range], Tensor], device: torch.device):
        """
        Args:
            make: gives the tensors of a range of steps, stacked.
        """
        self._make, self._device = make, device
        self._blocks: dict[int, Tensor] = {}

    def at(self, step: int) -> Tensor:
        """The tensor of one step; steps come one after the other, or again."""
        number, place = divmod(step, AHEAD)
        for needed in (number, number + 1) if place >= AHEAD // 2 else (number,):
            if needed not in self._blocks:
                kept = {n: block for n, block in self._blocks.items() if n >= needed - 1}
                self._blocks = {**kept, needed: self._fetch(range(needed * AHEAD, (needed + 1) * AHEAD))}
        return self._blocks[number][place]

    def _fetch(self, steps: range) -> Tensor:
        made = self._make(steps)
        if self._device.type == "cuda" and made.numel():
            made = made.pin_memory()  # else the host waits until the device has copied it
        return made.to(self._device, non_blocking=True)


class Batches:
    """Every step's batch, the windows of `gpt.data.batches.training_batch`, cut out of a text on the device."""

    def __init__(
        self, train: NDArray[np.int64], seeds: Sequence[int], samples: range, context: int, device: torch.device
    ):
        def starts(steps: range) -> Tensor:
            return torch.from_numpy(batch_starts(train, seeds, steps, samples, context))

        self._windows = torch.from_numpy(train).to(device).unfold(0, context + 1, 1)
        self._starts = Prefetch(starts, device)

    def at(self, step: int) -> Tensor:
        """(S, B, T + 1)."""
        return self._windows[self._starts.at(step)]
