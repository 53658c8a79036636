"""What engines have in common whose ranks all hold the whole model."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpt.config import RunConfig
from gpt.model.gpt import GPT
from gpt.train.engines.eager import EagerEngine
from gpt.train.engines.engine import State
from gpt.train.engines.ranks import SINGLE, Ranks
from gpt.train.optim.clipping import layer_norms, scale_gradients
from gpt.train.optim.optimizer import build_optimizer


def require(gradient: Tensor | None) -> Tensor:
    """A gradient that must be there: every parameter takes part in every step."""
    assert gradient is not None
    return gradient


class ReplicatedEngine(EagerEngine[Tensor]):
    """Each rank clips and updates all weights; a subclass says how ranks come to the same gradients."""

    def __init__(
        self, config: RunConfig, vocabulary: int, seeds: Sequence[int], device: torch.device, ranks: Ranks = SINGLE
    ):
        super().__init__(config, vocabulary, seeds, device, ranks)
        self.optimizer = build_optimizer(self.model, config.optim)

    def _gradients(self) -> list[Tensor]:
        return [require(p.grad) for p in self.parameters.values()]

    def _own_weights(self) -> list[Tensor]:
        return [p.detach() for p in self.parameters.values()]

    def _layer_norms(self, parts: Sequence[Tensor]) -> Tensor:
        return layer_norms(parts, self.layers, self.layer_count)

    def _scale(self, gradients: Sequence[Tensor], scale_S: Tensor, norm_S: Tensor) -> None:
        scale_gradients(gradients, scale_S)

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
