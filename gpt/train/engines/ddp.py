"""The engine whose ranks all hold the whole model: one process, or several with their gradients averaged."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from gpt.config import RunConfig
from gpt.model.gpt import GPT
from gpt.train.engines.engine import Engine, State, StepOut
from gpt.train.engines.rank_invariant import rank_invariant_sum
from gpt.train.engines.ranks import SINGLE, Ranks
from gpt.train.optim.clipping import clip_scale, layer_norms, scale_gradients
from gpt.train.optim.optimizer import build_optimizer


def require(gradient: Tensor | None) -> Tensor:
    """A gradient that must be there: every parameter takes part in every step."""
    assert gradient is not None
    return gradient


class DDPEngine(Engine):
    """One process on one device, or DistributedDataParallel; with `train.reduction: rank_invariant`, sums in a fixed
    order.
    """

    def __init__(
        self, config: RunConfig, vocabulary: int, seeds: Sequence[int], device: torch.device, ranks: Ranks = SINGLE
    ):
        super().__init__(config, vocabulary, seeds, device, ranks)
        self.optimizer = build_optimizer(self.model, config.optim)
        self.gathers_micro_batches = config.train.reduction == "rank_invariant" and ranks.size > 1
        self.averages = None if ranks.size == 1 or self.gathers_micro_batches else DistributedDataParallel(self.forward)
        if self.averages is not None:
            self.forward = self.averages
        self.name = "one process" if ranks.size == 1 else "rank-invariant" if self.gathers_micro_batches else "DDP"

    def train_step(self, step: int, batch_SBT: Tensor, lr: float, measure_updates: bool) -> StepOut:
        loss_S, micro_batch_norm_SM = self._backward(step, batch_SBT)
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

    def _backward(self, step: int, batch_SBT: Tensor) -> tuple[Tensor, Tensor | None]:
        """Leave the gradient of the batch's mean loss in every parameter; return that loss, and the part norms."""
        # averaging over ranks divides by their number; a sum in order does not
        divisor = len(self.micro_batches) * (self.ranks.size if self.gathers_micro_batches else 1)
        measured, gradients_AN = [], []
        for samples in self.micro_batches:
            with self._averaging(samples):
                loss_S = self._loss(step, batch_SBT, samples)
                (loss_S / divisor).sum().backward()
            measured.append(
                [loss_S.detach(), *([self.micro_batch_norms.last_S() * divisor] if self.micro_batch_norms else [])]
            )
            if self.gathers_micro_batches:
                gradients_AN.append(torch.cat([require(p.grad).flatten() for p in self.parameters.values()]))
                self.optimizer.zero_grad(set_to_none=True)
        if self.gathers_micro_batches:
            self._distribute(rank_invariant_sum(gradients_AN, self.ranks))
        of_all_XSM = self._of_all_micro_batches(torch.stack([torch.stack(m) for m in measured], dim=2))
        return of_all_XSM[0].mean(1), of_all_XSM[1] if self.micro_batch_norms else None

    def _averaging(self, samples: range) -> AbstractContextManager[None]:
        """Ranks average after the last micro-batch only; forward and backward both belong inside."""
        last = samples == self.micro_batches[-1]
        return nullcontext() if last or self.averages is None else self.averages.no_sync()

    def _distribute(self, gradient_N: Tensor) -> None:
        """Give each parameter its part of the gradient, copied: a kernel may add up otherwise at another alignment."""
        parts = gradient_N.split([p.numel() for p in self.parameters.values()])
        for p, part in zip(self.parameters.values(), parts, strict=True):
            p.grad = part.view_as(p).clone()

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
