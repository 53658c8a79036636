"""How a single process may compute a step, and what each way needs."""

import torch

from gpt.config import RunConfig
from gpt.errors import InputError
from gpt.train.engines.compiled import CompiledEngine
from gpt.train.engines.graph import GraphEngine
from gpt.train.engines.replicated import ReplicatedEngine
from gpt.train.engines.single_process import SingleProcessEngine
from gpt.train.optim.optimizer import OPTIMIZERS

STEP_MODES: dict[str, type[ReplicatedEngine]] = {
    "eager": SingleProcessEngine,
    "compiled": CompiledEngine,
    "graph": GraphEngine,
}
"""by `train.step`, which may also leave the choice open"""


def check_step(config: RunConfig, device: torch.device, ranks: int) -> None:
    """Refuse a way to compute steps that this run cannot have here.

    Raises:
        InputError: names the field.
    """
    mode = config.train.step
    if mode in ("auto", "eager"):
        return
    if mode == "graph" and device.type != "cuda":
        raise InputError(
            f"train.step: got graph, must be auto, eager or compiled on {device.type}, which has no graphs"
        )
    if ranks > 1:
        raise InputError(f"train.step: got {mode}, must be auto or eager where {ranks} ranks share a batch")
    if config.model.attention == "explicit":  # torch 2.13's compiler takes it for another and fails on its shapes
        raise InputError(f"train.step: got {mode}, must be auto or eager with model.attention explicit")
    if not OPTIMIZERS[config.optim.optimizer].can_be_held:
        names = ", ".join(name for name, optimizer in OPTIMIZERS.items() if optimizer.can_be_held)
        raise InputError(
            f"train.step: got {mode}, must be auto or eager with optim.optimizer {config.optim.optimizer}, whose steps "
            f"cannot be held back on the device; those of {names} can"
        )


def available_modes(config: RunConfig, device: torch.device, ranks: int) -> list[str]:
    """The ways that this run could have here, the plain one first."""
    can_be_held = OPTIMIZERS[config.optim.optimizer].can_be_held
    if ranks > 1 or config.model.attention == "explicit" or not can_be_held:
        return ["eager"]
    return [mode for mode in STEP_MODES if mode != "graph" or device.type == "cuda"]
