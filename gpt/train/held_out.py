"""The held-out text as it is evaluated: validation windows, which choices read, then test windows, for verdicts alone.

Shapes: S seed, N window, T position.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from gpt.data.batches import consecutive_windows
from gpt.data.dataset import Dataset
from gpt.records.schema import HELDOUT_LOSS, TEST_LOSS, VAL_LOSS


@dataclass(frozen=True)
class Evaluation:
    """What the held-out windows came to at one step."""

    loss_SN: Tensor
    """mean loss of each window, nats per character"""
    validation: int
    """windows of validation text, which are the first"""

    @property
    def has_test(self) -> bool:
        return self.validation < self.loss_SN.shape[1]

    @property
    def means(self) -> dict[str, Tensor]:
        """(S,): what each seed's row holds of it."""
        whole_S = self.loss_SN.double().mean(dim=1)
        if not self.has_test:
            return {VAL_LOSS: whole_S}
        val_SN, test_SN = self.loss_SN[:, : self.validation], self.loss_SN[:, self.validation :]
        means = {VAL_LOSS: val_SN.double().mean(dim=1), TEST_LOSS: test_SN.double().mean(dim=1)}
        return {**means, HELDOUT_LOSS: whole_S}


@dataclass(frozen=True)
class HeldOut:
    windows_NT: Tensor
    """(N, T + 1)"""
    validation: int
    """windows of validation text, which are the first"""

    @classmethod
    def of(cls, data: Dataset, context: int) -> Self:
        val_NT, test_NT = (torch.from_numpy(consecutive_windows(text, context)) for text in (data.val, data.test))
        return cls(torch.cat([val_NT, test_NT]), len(val_NT))

    @property
    def validation_NT(self) -> Tensor:
        return self.windows_NT[: self.validation]

    def evaluation(self, loss_SN: Tensor) -> Evaluation:
        return Evaluation(loss_SN, self.validation)
