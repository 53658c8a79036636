"""The metrics of training steps, copied from the device while it computes the next ones, and then rows of runs.

Shapes: S seed, L layer.
"""

from collections.abc import Sequence
from typing import Any

import torch

from gpt.records.schema import CLIP_SCALE, GRAD_NORM, LAYER_GRAD_NORM, LR, MICRO_BATCH_GRAD_NORM, TRAIN_LOSS
from gpt.train.engines.engine import Engine, StepOut

FIELDS = {
    TRAIN_LOSS: "loss_S",
    GRAD_NORM: "grad_norm_S",
    CLIP_SCALE: "clip_scale_S",
    LAYER_GRAD_NORM: "layer_grad_norm_SL",
    MICRO_BATCH_GRAD_NORM: "micro_batch_norm_SM",
}
"""what a row holds of a step, by the names of `StepOut`"""

Step = tuple[int, float, StepOut]
"""its number, its learning rate, and what it returned"""


class StepMetrics:
    """Copied as soon as the device has them; only who reads them waits for that."""

    def __init__(self, steps: Sequence[Step], engine: Engine):
        """
        Args:
            steps: at least one.
        """
        self.steps, self._engine = steps, engine
        self._copy()

    def _copy(self) -> None:
        outs = [out for _, _, out in self.steps]
        columns = {
            key: torch.stack([getattr(out, field) for out in outs], dim=1)
            for key, field in FIELDS.items()
            if getattr(outs[0], field) is not None
        }
        self._columns = {key: column.to("cpu", non_blocking=True) for key, column in columns.items()}
        self._corrections = self._engine.corrections
        self._there = torch.cuda.Event() if self._engine.device.type == "cuda" else None
        if self._there is not None:
            self._there.record()

    def rows(self) -> list[list[dict[str, Any]]]:
        """For each seed the rows of the steps, final."""
        self._engine.settle(self.steps[-1][0])
        if self._engine.corrections != self._corrections:
            self._copy()
        if self._there is not None:
            self._there.synchronize()
        values = {key: column.tolist() for key, column in self._columns.items()}
        return [
            [
                {"step": step, LR: lr, **{key: value[s][i] for key, value in values.items()}}
                for i, (step, lr, _) in enumerate(self.steps)
            ]
            for s in range(len(self._engine.seeds))
        ]
