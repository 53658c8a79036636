"""Fully sharded data parallel: torch's `fully_shard` (Zhao et al. 2023), on the ranks that accelerate launches.

Parameters are gathered for a block's forward and backward pass alone; gradients, optimizer and weights stay in shards,
each along one dimension of its parameter. Norms are taken and gradients scaled on the shards.

Shapes: S seed, L layer, W parameter tensor.
"""

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gpt.config import RunConfig
from gpt.train.engines.eager import EagerEngine
from gpt.train.engines.engine import MicroBatchGradNorms, State, check_sharded
from gpt.train.engines.kinds import EngineKind, Parity, is_on, register
from gpt.train.engines.ranks import Ranks
from gpt.train.optim.optimizer import build_optimizer


class FSDPEngine(EagerEngine[Tensor]):
    """Ranks that share out weights, gradients and the optimizer's state."""

    name = "FSDP2"

    def __init__(self, config: RunConfig, vocabulary: int, seeds: Sequence[int], device: torch.device, ranks: Ranks):
        check(config)
        super().__init__(config, vocabulary, seeds, device, ranks)
        from torch.distributed.device_mesh import init_device_mesh  # imports much that other engines do without
        from torch.distributed.fsdp import fully_shard

        # the logits are a view, and nothing is done to them in place
        warnings.filterwarnings("ignore", "FSDP2-wrapped module", UserWarning)
        mesh = init_device_mesh(device.type, (ranks.size,))
        modules: tuple[Any, ...] = (*self.model.blocks, self.model)  # Any: fully_shard adds to them
        for module in modules:  # resharded, so that no gathered copy outlives an update
            fully_shard(module, mesh=mesh, reshard_after_forward=True, shard_placement_fn=self._placement)
        self.parameters = dict(self.model.named_parameters())
        self.optimizer = build_optimizer(self.model, config.optim)
        if self.micro_batch_norms is not None:
            for module in modules:
                module.unshard()
            # gradients of gathered parameters are not averaged yet
            self.micro_batch_norms = MicroBatchGradNorms(list(self.model.parameters()), len(self.seeds))
            for module in modules:
                module.reshard()

    def _placement(self, parameter: nn.Parameter) -> Any:
        """Along the first dimension after the seeds' that the ranks divide evenly; where none is, seed by seed."""
        from torch.distributed.tensor import Shard

        even = [dim for dim in range(1, parameter.ndim) if parameter.shape[dim] % self.ranks.size == 0]
        return Shard(even[0] if even else 0)

    def _gradients(self) -> list[Tensor]:
        return [_local(p.grad) for p in self.parameters.values()]

    def _own_weights(self) -> list[Tensor]:
        return [_local(p) for p in self.parameters.values()]

    def _scale(self, gradients: Sequence[Tensor], scale_S: Tensor, norm_S: Tensor) -> None:
        for p, gradient in zip(self.parameters.values(), gradients, strict=True):
            gradient.mul_(scale_S[self._seeds_of(p)].view(-1, *[1] * (p.ndim - 1)))

    @torch.no_grad()
    def _layer_norms(self, parts: Sequence[Tensor]) -> Tensor:
        """By one collective of all ranks."""
        squares_SW = torch.zeros(len(self.seeds), len(self.parameters), device=self.device)
        for index, (p, shard) in enumerate(zip(self.parameters.values(), parts, strict=True)):
            squares_SW[self._seeds_of(p), index] = shard.flatten(1).square().sum(1)
        self.ranks.all_reduce_sum(squares_SW)
        squares_SL = torch.zeros(len(self.seeds), self.layer_count, device=self.device)
        return squares_SL.index_add_(1, torch.tensor(self.layers, device=self.device), squares_SW).sqrt()

    def _seeds_of(self, parameter: nn.Parameter) -> slice:
        """The seeds that this rank's shard of a parameter has something of."""
        if _dim(parameter) != 0:
            return slice(len(self.seeds))
        each = -(-len(self.seeds) // self.ranks.size)
        return slice(self.ranks.rank * each, (self.ranks.rank + 1) * each)

    def _shard_of(self, whole: Tensor, parameter: nn.Parameter) -> Tensor:
        """This rank's part of what has the shape of a parameter."""
        if _dim(parameter) == 0:
            return whole[self._seeds_of(parameter)]
        return whole.chunk(self.ranks.size, _dim(parameter))[self.ranks.rank]

    def weights(self) -> State:
        return {name: _whole(p) for name, p in self.parameters.items()}

    def state(self) -> State:
        state = {f"parameter/{name}": value for name, value in self.weights().items()}
        for name, p in self.parameters.items():
            for kind, key in self.optimizer.state_keys(p).items():
                state[f"{kind}/{name}"] = _whole(self.optimizer.state[p][key])
        return state

    @torch.no_grad()
    def load(self, step: int, state: State) -> None:
        for name, p in self.parameters.items():
            _local(p).copy_(self._shard_of(state[f"parameter/{name}"], p))
            tensors = {key: torch.zeros_like(p.detach()) for key in self.optimizer.state_keys(p).values()}
            for kind, key in self.optimizer.state_keys(p).items():
                _local(tensors[key]).copy_(self._shard_of(state[f"{kind}/{name}"], p))
            self.optimizer.resume(p, step, tensors)


def _dim(parameter: Any) -> int:
    """The dimension that a parameter is sharded along."""
    return parameter.placements[0].dim


def _local(sharded: Any) -> Tensor:
    """This rank's shard; writing to it changes what is sharded."""
    return sharded.detach().to_local()


def _whole(sharded: Any) -> Tensor:
    return sharded.detach().full_tensor()


check = partial(check_sharded, engine="FSDP2")


def _asked_for(environment: Mapping[str, str]) -> bool:
    return is_on(environment, "ACCELERATE_USE_FSDP")


register(
    EngineKind(
        name="fsdp",
        title="FSDP2",
        build=FSDPEngine,
        classes=(FSDPEngine,),
        distributed_type="FSDP",
        fields={"fsdp_config": {"fsdp_version": 2, "fsdp_reshard_after_forward": True}},
        asked_for=_asked_for,
        settings=(
            ("FSDP_VERSION", {"2"}, "fsdp_version must be 2: gpt shards by torch's fully_shard"),
            ("FSDP_RESHARD_AFTER_FORWARD", {"true"}, "fsdp_reshard_after_forward must be true"),
            ("FSDP_OFFLOAD_PARAMS", {"false"}, "fsdp_offload_params must be left out or false"),
            ("FSDP_ACTIVATION_CHECKPOINTING", {"false"}, "fsdp_activation_checkpointing must be left out or false"),
        ),
        may_use_cpu=False,
        sharded=True,
        check=check,
        parity=(Parity(2), Parity(4, thorough=False)),
    )
)
