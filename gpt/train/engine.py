"""The seam between the training loop and whatever computes a step.

Shapes: S seed, B batch, T position, L layer, N validation window.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gpt.config import RunConfig
from gpt.model.dropout import Noise
from gpt.model.gpt import build_model, layer_index, layer_names, token_losses
from gpt.train.gradients import clip_scale, layer_norms, scale_gradients
from gpt.train.optimizer import build_optimizer

State = dict[str, Tensor]


@dataclass(frozen=True)
class StepOut:
    """What one training step leaves to be recorded, on the device that computed it."""

    loss_S: Tensor
    """mean loss over the batch before the update, nats per character"""
    grad_norm_S: Tensor
    """norm of the whole gradient before clipping"""
    layer_grad_norm_SL: Tensor
    """norm of each layer's gradient before clipping"""
    clip_scale_S: Tensor
    """factor that the gradient was multiplied by"""
    update_ratio_SL: Tensor | None
    """norm of the update over the norm of the weights, layer by layer; None where it was not asked for"""


class Engine(Protocol):
    """Trains the models of several seeds together; the loop knows no more than this."""

    seeds: tuple[int, ...]

    def train_step(self, step: int, batch_SBT: Tensor, lr: float, measure_updates: bool) -> StepOut:
        """Forward, backward, clip and update on (S, B, T+1) characters.

        It is one verb because some engines cannot be asked for the parts.
        """

    def evaluate(self, windows_NT: Tensor) -> Tensor:
        """(S, N): mean loss of each window of T+1 characters, nats per character."""

    def observe(self, windows_NT: Tensor, want: Collection[str]) -> dict[str, list[Tensor]]:
        """The wanted intermediates (see `gpt.model.taps.TAPS`) of a forward pass over windows of T characters."""

    def weights(self) -> State:
        """Parameters by name, each leading with the seed axis; they go on changing with the next step."""

    def state(self) -> State:
        """Everything that `load` needs to go on to the same bits, each tensor leading with the seed axis.

        There is a state once a step was taken; its tensors go on changing with the next one.
        """

    def load(self, step: int, state: State) -> None:
        """Take up the state that an engine of the same seeds had after `step`."""


def require(gradient: Tensor | None) -> Tensor:
    """A gradient that must be there: every parameter takes part in every step."""
    assert gradient is not None
    return gradient


class LocalEngine:
    """One process, one device."""

    def __init__(self, config: RunConfig, vocabulary: int, seeds: Sequence[int], device: torch.device):
        self.seeds = tuple(seeds)
        self.config = config
        self.device = device
        self.model = build_model(config.model, vocabulary, self.seeds).to(device)
        self.optimizer = build_optimizer(self.model, config.optim)
        self.parameters = dict(self.model.named_parameters())
        self.layers = [layer_index(name, config.model) for name in self.parameters]
        self.layer_count = len(layer_names(config.model))

    def train_step(self, step: int, batch_SBT: Tensor, lr: float, measure_updates: bool) -> StepOut:
        batch_SBT = batch_SBT.to(self.device)
        noise = Noise(self.seeds, step, range(batch_SBT.shape[1]))
        logits_SBTV, _ = self.model(batch_SBT[..., :-1], noise=noise)
        loss_S = token_losses(logits_SBTV, batch_SBT[..., 1:]).mean((1, 2))
        loss_S.sum().backward()

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
        return StepOut(loss_S.detach(), grad_norm_S, layer_grad_norm_SL, scale_S, ratio_SL)

    @torch.no_grad()
    def _update_ratio(self, before: list[Tensor]) -> Tensor:
        moved = [after - b for after, b in zip(self.parameters.values(), before, strict=True)]
        update_SL = layer_norms(moved, self.layers, self.layer_count)
        return update_SL / layer_norms(before, self.layers, self.layer_count)

    @torch.no_grad()
    def evaluate(self, windows_NT: Tensor) -> Tensor:
        losses = []
        for chunk_BT in windows_NT.to(self.device).split(self.config.train.eval_batch_size):
            chunk_SBT = chunk_BT.expand(len(self.seeds), *chunk_BT.shape)
            logits_SBTV, _ = self.model(chunk_SBT[..., :-1])
            losses.append(token_losses(logits_SBTV, chunk_SBT[..., 1:]).mean(2))
        return torch.cat(losses, dim=1)

    @torch.no_grad()
    def observe(self, windows_NT: Tensor, want: Collection[str]) -> dict[str, list[Tensor]]:
        windows_NT = windows_NT.to(self.device)
        _, taps = self.model(windows_NT.expand(len(self.seeds), *windows_NT.shape), want=want)
        return taps

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
