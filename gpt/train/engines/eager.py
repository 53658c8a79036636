"""A training step, operator by operator, wherever the weights lie.

Shapes: S seed, B sample, T position, L layer.
"""

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from gpt.config import RunConfig
from gpt.train.engines.engine import Engine, StepOut
from gpt.train.engines.ranks import SINGLE, Ranks
from gpt.train.optim.clipping import clip_scale
from gpt.train.optim.optimizer import SeedOptimizer


class Part(Protocol):
    """What a rank holds of a parameter or of its gradient: all of it, or a shard."""

    def clone(self) -> Self: ...

    def __sub__(self, other: Any, /) -> Self: ...


P = TypeVar("P", bound=Part)


class EagerEngine(Engine, Generic[P]):
    """Forward and backward pass, norms, clipping and update; a subclass says where gradients and weights are."""

    optimizer: SeedOptimizer

    def __init__(
        self, config: RunConfig, vocabulary: int, seeds: Sequence[int], device: torch.device, ranks: Ranks = SINGLE
    ):
        super().__init__(config, vocabulary, seeds, device, ranks)
        self.divisor = len(self.micro_batches)
        """of each micro-batch's mean loss, so that all gradients together are that of the batch's mean loss"""

    def train_step(self, step: int, batch_SBT: Tensor, lr: float, measure_updates: bool) -> StepOut:
        measured = []
        for samples in self.micro_batches:
            with self._micro_batch(samples):
                loss_S = self._loss(step, batch_SBT, samples)
                self._backward(loss_S)
            measured.append(self._measured(loss_S, self.divisor))
        self._reduce()
        loss_S, micro_batch_norm_SM = self._of_batch(measured)

        gradients = self._gradients()
        layer_grad_norm_SL = self._layer_norms(gradients)
        grad_norm_S = torch.linalg.vector_norm(layer_grad_norm_SL, dim=1)
        scale_S = clip_scale(grad_norm_S, self.config.optim.clip)
        self._scale(gradients, scale_S, grad_norm_S)

        before = [part.clone() for part in self._own_weights()] if measure_updates else []
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self._update()
        ratio_SL = self._update_ratio(before) if measure_updates else None
        return StepOut(loss_S, grad_norm_S, layer_grad_norm_SL, scale_S, micro_batch_norm_SM, ratio_SL)

    def _micro_batch(self, samples: range) -> AbstractContextManager[None]:
        """What a micro-batch's forward and backward pass happen in."""
        return nullcontext()

    def _backward(self, loss_S: Tensor) -> None:
        """Add a micro-batch's gradient to those before."""
        (loss_S / self.divisor).sum().backward()

    def _reduce(self) -> None:  # most engines' backward passes have done it
        """Bring together the gradients of all ranks, once those of all micro-batches are there."""

    @abstractmethod
    def _gradients(self) -> Sequence[P]:
        """This rank's part of each parameter's gradient."""

    @abstractmethod
    def _own_weights(self) -> Sequence[P]:
        """This rank's part of each parameter, which the next update changes."""

    @abstractmethod
    def _layer_norms(self, parts: Sequence[P]) -> Tensor:
        """(S, L): Euclidean norm over all of a layer, whoever holds it."""

    @abstractmethod
    def _scale(self, gradients: Sequence[P], scale_S: Tensor, norm_S: Tensor) -> None:
        """Multiply each seed's gradient, of such a norm, by its factor, in place."""

    def _update(self) -> None:
        """Move the weights, and let go of the gradients."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _update_ratio(self, before: Sequence[P]) -> Tensor:
        """(S, L): norm of what has been added to the weights over the norm of what they were."""
        moved = [after - b for after, b in zip(self._own_weights(), before, strict=True)]
        return self._layer_norms(moved) / self._layer_norms(before)
