"""AdamW (Loshchilov and Hutter 2019), torch's fused kernel."""

from typing import Any, Self

import torch
from torch import Tensor, nn

from gpt.config import OptimConfig
from gpt.train.optim.optimizer import SeedOptimizer, parameter_groups


class AdamW(torch.optim.AdamW, SeedOptimizer):
    """Decoupled weight decay, with a running mean of gradients and of their squares."""

    state_tensors = {"mean": "exp_avg", "square": "exp_avg_sq"}  # noqa: RUF012

    @classmethod
    def build(cls, groups: list[dict[str, Any]], optim: OptimConfig) -> Self:
        return cls(groups, lr=optim.lr, betas=(optim.beta1, optim.beta2), eps=optim.eps, fused=True)

    def resume(self, parameter: Tensor, step: int, tensors: dict[str, Tensor]) -> None:
        super().resume(parameter, step, {"step": torch.tensor(float(step), device=parameter.device), **tensors})


def build_optimizer(model: nn.Module, optim: OptimConfig) -> SeedOptimizer:
    """The optimizer that the configuration asks for."""
    return AdamW.build(parameter_groups(model, optim), optim)
