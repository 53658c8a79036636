"""What engines have in common whose ranks all hold the whole model."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from gpt.config import RunConfig
from gpt.model.gpt import GPT
from gpt.train.engines.engine import Engine, State, StepOut
from gpt.train.engines.ranks import SINGLE, Ranks
from gpt.train.optim.clipping import clip_scale, layer_norms, scale_gradients
from gpt.train.optim.optimizer import build_optimizer


def require(gradient: Tensor | None) -> Tensor:
    """A gradient that must be there: every parameter takes part in every step."""
    assert gradient is not None
    return gradient


class ReplicatedEngine(Engine):
    """Each rank clips and updates all weights; a subclass says how ranks come to the same gradients."""

    def __init__(
        self, config: RunConfig, vocabulary: int, seeds: Sequence[int], device: torch.device, ranks: Ranks = SINGLE
    ):
        super().__init__(config, vocabulary, seeds, device, ranks)
        self.optimizer = build_optimizer(self.model, config.optim)
        self.divisor = len(self.micro_batches)
        """of each micro-batch's mean loss, so that all gradients together are that of the batch's mean loss"""

    def train_step(self, step: int, batch_SBT: Tensor, lr: float, measure_updates: bool) -> StepOut:
        measured = []
        for samples in self.micro_batches:
            with self._micro_batch(samples):
                loss_S = self._loss(step, batch_SBT, samples)
                (loss_S / self.divisor).sum().backward()
            measured.append(self._measured(loss_S, self.divisor))
        self._reduce()
        loss_S, micro_batch_norm_SM = self._of_batch(measured)

        gradients = [require(p.grad) for p in self.parameters.values()]
        layer_grad_norm_SL = layer_norms(gradients, self.layers, self.layer_count)
        grad_norm_S = torch.linalg.vector_norm(layer_grad_norm_SL, dim=1)
        scale_S = clip_scale(grad_norm_S, self.config.optim.clip)
        scale_gradients(gradients, scale_S)

        before = [p.detach().clone() for p in self.parameters.values()] if measure_updates else None
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        ratio_SL = self._update_ratio(before) if before else None
        return StepOut(loss_S, grad_norm_S, layer_grad_norm_SL, scale_S, micro_batch_norm_SM, ratio_SL)

    def _micro_batch(self, samples: range) -> AbstractContextManager[None]:
        """What a micro-batch's forward and backward pass happen in."""
        return nullcontext()

    def _reduce(self) -> None:
        """Bring together the gradients of all ranks, once those of all micro-batches are there."""

    @torch.no_grad()
    def _update_ratio(self, before: list[Tensor]) -> Tensor:
        moved = [after - b for after, b in zip(self.parameters.values(), before, strict=True)]
        update_SL = layer_norms(moved, self.layers, self.layer_count)
        return update_SL / layer_norms(before, self.layers, self.layer_count)

    def weights(self) -> State:
        return {name: p.detach() for name, p in self.parameters.items()}

    def whole_model(self) -> GPT:
        return self.model

    def state(self) -> State:
        state = {f"parameter/{name}": p.detach() for name, p in self.parameters.items()}
        for name, p in self.parameters.items():
            for kind, key in self.optimizer.state_keys(p).items():
                state[f"{kind}/{name}"] = self.optimizer.state[p][key]
        return state

    @torch.no_grad()
    def load(self, step: int, state: State) -> None:
        for name, p in self.parameters.items():
            p.copy_(state[f"parameter/{name}"])
            kinds = self.optimizer.state_keys(p)
            tensors = {key: state[f"{kind}/{name}"].to(self.device, copy=True) for kind, key in kinds.items()}
            self.optimizer.resume(p, step, tensors)
