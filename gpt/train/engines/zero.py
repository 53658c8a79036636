"""The engine whose ranks hold shards: DeepSpeed ZeRO, stages 0 to 3 (Rajbhandari et al. 2020), driven by accelerate.

DeepSpeed would clip all seeds of a seed batch together and says nothing of layers, so it is told not to clip; norms are
taken and gradients scaled here, on each rank's shards, between its backward pass and its step.

Shapes: S seed, L layer, W parameter tensor.
"""

import importlib
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gpt.config import RunConfig
from gpt.train.engines.eager import EagerEngine
from gpt.train.engines.engine import State, check_sharded
from gpt.train.engines.kinds import EngineKind, Parity, is_on, register
from gpt.train.engines.ranks import Ranks
from gpt.train.optim.optimizer import build_optimizer


@dataclass(frozen=True)
class Shard:
    """A stretch of a flattened parameter, or of its gradient; writing to `values` changes what DeepSpeed holds."""

    values: Tensor
    first: int
    """place of the first value in the flattened parameter"""

    @property
    def place(self) -> slice:
        """Where the values are in the flattened parameter."""
        return slice(self.first, self.first + len(self.values))

    def clone(self) -> "Shard":
        return Shard(self.values.clone(), self.first)

    def __sub__(self, other: "Shard") -> "Shard":
        return Shard(self.values - other.values, self.first)


class ZeROEngine(EagerEngine[Shard]):
    """Ranks that share out the optimizer's state (stage 1), also gradients (2), also parameters (3), or nothing (0)."""

    def __init__(self, config: RunConfig, vocabulary: int, seeds: Sequence[int], device: torch.device, ranks: Ranks):
        check(config)
        super().__init__(config, vocabulary, seeds, device, ranks)
        self.shapes = {name: p.shape for name, p in self.parameters.items()}
        initial = {f"parameter/{name}": p.detach().clone() for name, p in self.parameters.items()}
        self.optimizer = build_optimizer(self.model, config.optim)  # DeepSpeed gives it its flat shards
        self.deepspeed = _prepare(self.forward, self.optimizer, config.train.batch_size, self.micro_batches)
        self.stage: int = self.deepspeed.zero_optimization_stage()
        self.forward = self.deepspeed
        self.name = f"DeepSpeed ZeRO-{self.stage}"
        kinds = self.optimizer.state_tensors
        zeros = {f"{kind}/{name}": torch.zeros(shape) for name, shape in self.shapes.items() for kind in kinds}
        # DeepSpeed may have taken a step with gradients of zero, which decays weights
        self.load(0, {**initial, **zeros})

    def _micro_batch(self, samples: range) -> AbstractContextManager[None]:
        self.deepspeed.set_gradient_accumulation_boundary(samples == self.micro_batches[-1])
        return nullcontext()

    def _backward(self, loss_S: Tensor) -> None:
        self.deepspeed.backward(loss_S.sum())  # which divides by the number of micro-batches

    def _update(self) -> None:
        self.deepspeed.step()

    def _gradients(self) -> list[Shard]:
        return [self._gradient_of(p) for p in self.parameters.values()]

    def _own_weights(self) -> list[Shard]:
        return [self._shard_of(p) for p in self.parameters.values()]

    def _layer_norms(self, parts: Sequence[Shard]) -> Tensor:
        """By one collective of all ranks."""
        squares_SW = torch.stack(
            [self._squares(shard, shape) for shard, shape in zip(parts, self.shapes.values(), strict=True)], dim=1
        )
        if self.stage > 0:
            self.ranks.all_reduce_sum(squares_SW)
        squares_SL = torch.zeros(len(self.seeds), self.layer_count, device=self.device)
        return squares_SL.index_add_(1, torch.tensor(self.layers, device=self.device), squares_SW).sqrt()

    def _squares(self, shard: Shard, shape: torch.Size) -> Tensor:
        """(S,): sum of squares of each seed's part of a shard."""
        whole = torch.zeros(shape.numel(), device=self.device)
        whole[shard.place] = shard.values
        return whole.view(shape[0], -1).square().sum(1)

    def _scale(self, gradients: Sequence[Shard], scale_S: Tensor, norm_S: Tensor) -> None:
        """A seed that became non-finite stands still, else DeepSpeed would skip the step of all seeds."""
        for shard, shape in zip(gradients, self.shapes.values(), strict=True):
            each = shape[1:].numel()
            scale, finite = (of_S.repeat_interleave(each)[shard.place] for of_S in (scale_S, norm_S.isfinite()))
            shard.values.copy_(torch.where(finite, shard.values * scale, 0.0))

    def _gradient_of(self, parameter: Any) -> Shard:
        """This rank's shard of the averaged gradient, between backward and step."""
        if self.stage == 0:
            assert parameter.grad is not None
            return Shard(parameter.grad.view(-1), 0)
        if self.stage == 3:
            return self._stage_3_shard(parameter, parameter._z3_optimizer.get_local_fp32_grad_for_param(parameter))
        place = parameter._hp_mapping
        if place is None:
            return self._nothing()
        values = place.get_lp_grad_fragment(parameter._index_in_param_group).view(-1)
        return Shard(values[: place.lp_fragment_address.numel], place.lp_fragment_address.start)

    def _shard_of(self, parameter: Any, key: str | None = None) -> Shard:
        """This rank's shard of the parameter that the optimizer updates, or of a tensor that it keeps for it."""
        from deepspeed.utils import safe_get_local_fp32_param, safe_get_local_optimizer_state

        if self.stage == 0:
            return Shard((self.optimizer.state[parameter][key] if key else parameter.detach()).view(-1), 0)
        if self.stage == 3:
            local = safe_get_local_optimizer_state(parameter, key) if key else safe_get_local_fp32_param(parameter)
            return self._stage_3_shard(parameter, local)
        place = parameter._hp_mapping
        return Shard(place.get_hp_fragment(key), place.lp_fragment_address.start) if place else self._nothing()

    def _stage_3_shard(self, parameter: Any, values: Tensor) -> Shard:
        """Stage 3 cuts a flattened parameter into equal stretches, one a rank, the last filled up."""
        first = self.ranks.rank * values.numel()
        length = min(values.numel(), parameter.ds_numel - first)
        return Shard(values.view(-1)[:length], first) if length > 0 else self._nothing()

    def _nothing(self) -> Shard:
        """The shard of a parameter that lies on other ranks."""
        return Shard(torch.empty(0, device=self.device), 0)

    def weights(self) -> State:
        from deepspeed.utils import safe_get_full_fp32_param

        if self.stage == 0:
            return {name: p.detach() for name, p in self.parameters.items()}
        return {name: safe_get_full_fp32_param(p).view(self.shapes[name]) for name, p in self.parameters.items()}

    def state(self) -> State:
        from deepspeed.utils import safe_get_full_optimizer_state

        state = {f"parameter/{name}": value for name, value in self.weights().items()}
        for name, p in self.parameters.items():
            for kind, key in self.optimizer.state_tensors.items():
                whole = self.optimizer.state[p][key] if self.stage == 0 else safe_get_full_optimizer_state(p, key)
                state[f"{kind}/{name}"] = whole.view(self.shapes[name])
        return state

    def _optimized(self) -> list[Tensor]:
        """The tensors that the optimizer updates: flat shards of each group of parameters; in stage 0, parameters."""
        zero = self.deepspeed.optimizer
        if self.stage == 0:
            return list(self.parameters.values())
        return zero.fp32_partitioned_groups_flat if self.stage == 3 else zero.single_partition_of_fp32_groups

    @torch.no_grad()
    def load(self, step: int, state: State) -> None:
        assert self.deepspeed.global_steps == 0, "DeepSpeed may hold gathered copies of weights that were used"
        for flat in self._optimized():
            self.optimizer.resume(
                flat, step, {key: torch.zeros_like(flat) for key in self.optimizer.state_tensors.values()}
            )
        if self.stage in (1, 2):  # make the shards of the state views of the new tensors
            self.deepspeed.optimizer._hp_optimizer_states_linked = False
            self.deepspeed.optimizer._lazy_init_hp_params_optimizer_state()
        p: Any  # DeepSpeed hangs its own attributes on parameters
        for name, p in self.parameters.items():
            for kind, key in {"parameter": None, **self.optimizer.state_tensors}.items():
                shard = self._shard_of(p, key)
                shard.values.copy_(state[f"{kind}/{name}"].flatten()[shard.place])
            # besides the shard that is updated there is the copy that computes
            if self.stage == 3:
                p.ds_tensor.copy_(p._z3_optimizer.get_local_fp32_param(p))
            elif self.stage > 0:
                p.copy_(state[f"parameter/{name}"])

    def close(self) -> None:
        self.deepspeed.destroy()


def _prepare(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch_size: int, micro_batches: Sequence[range]
) -> Any:
    """DeepSpeed's engine for the launch's stage; what the run file decides, the launch does not."""
    if not torch.cuda.is_available():
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed.comm.comm
    import deepspeed.ops
    import deepspeed.utils.groups
    from accelerate import Accelerator, DeepSpeedPlugin
    from accelerate.state import AcceleratorState
    from accelerate.utils import GradientAccumulationPlugin

    # a collective for one machine's CPUs that is compiled for a minute when first used; gloo does without
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    DeepSpeedPlugin.set_deepspeed_weakref = _do_nothing  # it tells transformers, which is not needed here
    # what is left of the seed batch before, whose rank group may have been aborted since
    AcceleratorState._reset_state(reset_partial_state=True)
    deepspeed.comm.comm.cdb = None
    importlib.reload(deepspeed.utils.groups)
    plugin = DeepSpeedPlugin()
    plugin.deepspeed_config.update(
        train_batch_size=batch_size,
        train_micro_batch_size_per_gpu=len(micro_batches[0]),
        gradient_accumulation_steps=len(micro_batches),
        gradient_clipping=0.0,  # left out, it would mean 1.0
        zero_allow_untested_optimizer=True,
        steps_per_print=10**9,
    )
    accelerator = Accelerator(
        deepspeed_plugin=plugin,
        mixed_precision="no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=len(micro_batches)),
    )
    if accelerator.distributed_type.value != "DEEPSPEED":
        raise RuntimeError(f"accelerate prepared {accelerator.distributed_type.value} and not DeepSpeed")
    return accelerator.prepare(model, optimizer)[0]


def _do_nothing(_plugin: object) -> None:
    pass


check = partial(check_sharded, engine="DeepSpeed")

STAGES = ("0", "1", "2", "3")
SETTINGS = (
    ("ACCELERATE_DEEPSPEED_ZERO_STAGE", STAGES, "zero_stage must be 0, 1, 2 or 3"),
    (
        "ACCELERATE_DEEPSPEED_CONFIG_FILE",
        {"none"},
        "deepspeed_config_file is not read: set zero_stage under deepspeed_config, the run file decides the rest",
    ),
    (
        "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE",
        {"none"},
        "offload_optimizer_device must be left out or none",
    ),
    ("ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE", {"none"}, "offload_param_device must be left out or none"),
)


def _asks_for(stage: str, environment: Mapping[str, str]) -> bool:
    """Whether a launch asks for a stage; the one that accelerate's DeepSpeedPlugin takes if none is named is 2."""
    if not is_on(environment, "ACCELERATE_USE_DEEPSPEED"):
        return False
    return environment.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2") == stage


for _stage in STAGES:
    register(
        EngineKind(
            name=f"zero{_stage}",
            title=f"DeepSpeed ZeRO-{_stage}",
            build=ZeROEngine,
            classes=(ZeROEngine,),
            distributed_type="DEEPSPEED",
            fields={
                "deepspeed_config": {
                    "zero_stage": int(_stage),
                    "zero3_init_flag": False,
                    "deepspeed_multinode_launcher": "standard",
                }
            },
            asked_for=partial(_asks_for, _stage),
            settings=SETTINGS,
            may_use_cpu=False,
            sharded=True,
            check=check,
            parity=(Parity(2), *([Parity(4, thorough=False)] if _stage == "3" else [])),
        )
    )
