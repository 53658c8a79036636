"""What an engine asks of an optimizer: a torch optimizer over parameters that lead with the seed axis."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from gpt.config import OptimConfig
from gpt.model.init import Constant, parameter_kinds
from gpt.registry import Registry, Variant


class SeedOptimizer(torch.optim.Optimizer, Variant):
    """An optimizer that says which tensors it keeps, so that any engine can save and resume it.

    No element of a parameter may be updated from another seed's: seeds trained together are the runs they are alone.

    What torch wraps for its compiler is written here again: the first call of one of these imports the compiler, which
    takes longer than to import all the rest of torch.
    """

    state_tensors: ClassVar[Mapping[str, str]]
    """name in a checkpoint: key in torch's `state`; each tensor has its parameter's shape"""
    elementwise: ClassVar[bool] = True
    """whether an element's update depends on that element alone, so that an engine may pass flattened shards"""

    can_be_held: ClassVar[bool] = False
    """whether its step moves nothing where `found_inf` is 1 and takes the rate as a tensor too, without waiting for
    the device: compiled steps rest on it"""
    found_inf: Tensor | None = None
    """torch's name for a number on the device: 0, or 1 for a step that must not count"""

    @classmethod
    @abstractmethod
    def build(cls, groups: list[dict[str, Any]], optim: OptimConfig) -> Self:
        """The optimizer of parameter groups that bring their `weight_decay`."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self.param_groups.append({**self.defaults, **param_group})

    def zero_grad(self, set_to_none: bool = True) -> None:
        assert set_to_none
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def state_keys(self, parameter: Tensor) -> Mapping[str, str]:
        """`state_tensors` of one parameter, where an optimizer treats some parameters otherwise."""
        return self.state_tensors

    def resume(self, parameter: Tensor, step: int, tensors: dict[str, Tensor]) -> None:
        """Take up the state of a parameter, its tensors by torch's keys, as it was after `step`."""
        self.state[parameter] = tensors


OPTIMIZERS = Registry("optim.optimizer", SeedOptimizer)


def build_optimizer(model: nn.Module, optim: OptimConfig) -> SeedOptimizer:
    """The optimizer that the configuration names, with weight decay on what is no gain and no shift."""
    kinds = parameter_kinds(model)
    decayed = [p for name, p in model.named_parameters() if not isinstance(kinds[name], Constant)]
    kept = [p for name, p in model.named_parameters() if isinstance(kinds[name], Constant)]
    groups = [{"params": decayed, "weight_decay": optim.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return OPTIMIZERS[optim.optimizer].build([group for group in groups if group["params"]], optim)
