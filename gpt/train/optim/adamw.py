"""AdamW (Loshchilov and Hutter 2019), torch's fused kernel."""

from typing import Any, Self

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from gpt.config import OptimConfig
from gpt.train.optim.optimizer import OPTIMIZERS, SeedOptimizer


@OPTIMIZERS.register("adamw")
class AdamW(SeedOptimizer):
    """Decoupled weight decay, with a running mean of gradients and of their squares."""

    can_be_held = True
    state_tensors = {"mean": "exp_avg", "square": "exp_avg_sq"}  # noqa: RUF012  # never changed

    @classmethod
    def build(cls, groups: list[dict[str, Any]], optim: OptimConfig) -> Self:
        return cls(groups, {"lr": optim.lr, "betas": (optim.beta1, optim.beta2), "eps": optim.eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch allows a closure, engines give none
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            for p in moved:
                if p not in self.state:
                    self.resume(p, 0, {key: torch.zeros_like(p) for key in self.state_tensors.values()})
            mean, square, steps = ([self.state[p][key] for p in moved] for key in ("exp_avg", "exp_avg_sq", "step"))
            beta1, beta2 = group["betas"]
            weight_decay, eps = group["weight_decay"], group["eps"]
            adamw(moved, [p.grad for p in moved], mean, square, [], steps, fused=True, amsgrad=False, maximize=False,
                  beta1=beta1, beta2=beta2, lr=group["lr"], weight_decay=weight_decay, eps=eps,
                  found_inf=self.found_inf)  # fmt: skip

    def resume(self, parameter: Tensor, step: int, tensors: dict[str, Tensor]) -> None:
        super().resume(parameter, step, {"step": torch.tensor(float(step), device=parameter.device), **tensors})
