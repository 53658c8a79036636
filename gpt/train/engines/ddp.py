"""The engine whose ranks all hold the whole model: one process, or several with their gradients averaged."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from gpt.config import RunConfig
from gpt.train.engines.engine import ModelEngine, State, StepOut
from gpt.train.engines.rank_invariant import ordered_sum
from gpt.train.engines.ranks import ALONE, Ranks
from gpt.train.optim.adamw import build_optimizer
from gpt.train.optim.clipping import clip_scale, layer_norms, scale_gradients


def require(gradient: Tensor | None) -> Tensor:
    """A gradient that must be there: every parameter takes part in every step."""
    assert gradient is not None
    return gradient


class ReplicaEngine(ModelEngine):
    """One process on one device, or DistributedDataParallel; with `train.reduction: ordered`, sums in a fixed order."""

    def __init__(
        self, config: RunConfig, vocabulary: int, seeds: Sequence[int], device: torch.device, ranks: Ranks = ALONE
    ):
        super().__init__(config, vocabulary, seeds, device, ranks)
        self.optimizer = build_optimizer(self.model, config.optim)
        self.gathers_parts = config.train.reduction == "ordered" and ranks.size > 1
        self.averages = None if ranks.size == 1 or self.gathers_parts else DistributedDataParallel(self.forward)
        if self.averages is not None:
            self.forward = self.averages
        self.name = "one process" if ranks.size == 1 else "in order" if self.gathers_parts else "DDP"

    def train_step(self, step: int, batch_SBT: Tensor, lr: float, measure_updates: bool) -> StepOut:
        loss_S, part_norm_SP = self._backward(step, batch_SBT)
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
        return StepOut(loss_S, grad_norm_S, layer_grad_norm_SL, scale_S, part_norm_SP, ratio_SL)

    def _backward(self, step: int, batch_SBT: Tensor) -> tuple[Tensor, Tensor | None]:
        """Leave the gradient of the batch's mean loss in every parameter; return that loss, and the part norms."""
        # averaging over ranks divides by their number; a sum in order does not
        divisor = len(self.micro_batches) * (self.ranks.size if self.gathers_parts else 1)
        measured, gradients_AN = [], []
        for samples in self.micro_batches:
            with self._averaging(samples):
                loss_S = self._loss(step, batch_SBT, samples)
                (loss_S / divisor).sum().backward()
            measured.append([loss_S.detach(), *([self.part_norms.last_S() * divisor] if self.part_norms else [])])
            if self.gathers_parts:
                gradients_AN.append(torch.cat([require(p.grad).flatten() for p in self.parameters.values()]))
                self.optimizer.zero_grad(set_to_none=True)
        if self.gathers_parts:
            self._distribute(ordered_sum(gradients_AN, self.ranks))
        of_parts_XSP = self._of_all_parts(torch.stack([torch.stack(m) for m in measured], dim=2))
        return of_parts_XSP[0].mean(1), of_parts_XSP[1] if self.part_norms else None

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

    def state(self) -> State:
        state = {f"parameter/{name}": p.detach() for name, p in self.parameters.items()}
        for name, p in self.parameters.items():
            state[f"mean/{name}"] = self.optimizer.state[p]["exp_avg"]
            state[f"square/{name}"] = self.optimizer.state[p]["exp_avg_sq"]
        return state

    @torch.no_grad()
    def load(self, step: int, state: State) -> None:
        for name, p in self.parameters.items():
            p.copy_(state[f"parameter/{name}"])
            self.optimizer.state[p] = {
                "step": torch.tensor(float(step), device=self.device),
                "exp_avg": state[f"mean/{name}"].to(self.device, copy=True),
                "exp_avg_sq": state[f"square/{name}"].to(self.device, copy=True),
            }
