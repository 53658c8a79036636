"""The seam between the training loop and whatever computes a step, and what all engines compute alike.

Shapes: S seed, B sample, T position, L layer, N validation window, A micro-batch of this rank, M of any rank, X what is
recorded of a micro-batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gpt.config import RunConfig
from gpt.errors import InputError
from gpt.model.attention import restrict_sdpa
from gpt.model.dropout import draw_key, draw_words, dropout_sites
from gpt.model.flops import parameter_count, training_flops_per_token
from gpt.model.gpt import GPT, build_model, layer_index, layer_names, token_losses
from gpt.train.engines.deterministic import fix_workspace, set_deterministic
from gpt.train.engines.micro_batches import micro_batches
from gpt.train.engines.ranks import SINGLE, Ranks
from gpt.train.optim.optimizer import OPTIMIZERS
from gpt.train.prefetch import Prefetch

State = dict[str, Tensor]


@dataclass(frozen=True)
class StepOut:
    """What one training step leaves to be recorded, on the device that computed it; the same on every rank."""

    loss_S: Tensor
    """mean loss over the batch before the update, nats per character"""
    grad_norm_S: Tensor
    """norm of the whole gradient before clipping"""
    layer_grad_norm_SL: Tensor
    """norm of each layer's gradient before clipping"""
    clip_scale_S: Tensor
    """factor that the gradient was multiplied by"""
    micro_batch_norm_SM: Tensor | None
    """norm of the mean gradient of each micro-batch of any rank; None where the noise scale was not asked for"""
    update_ratio_SL: Tensor | None
    """norm of the update over the norm of the weights, layer by layer; None where it was not asked for"""


class MicroBatchGradNorms:
    """Hooks that square every gradient as backward makes it: of one micro-batch, and not yet averaged over ranks."""

    def __init__(self, parameters: Sequence[nn.Parameter], seeds: int):
        self._seeds = seeds
        self._squares: list[Tensor] = [torch.empty(0)] * len(parameters)
        for index, parameter in enumerate(parameters):
            parameter.register_hook(partial(self._measure, index))

    def _measure(self, index: int, gradient: Tensor) -> None:
        self._squares[index] = gradient.reshape(self._seeds, -1).float().square().sum(1)

    def last_S(self) -> Tensor:
        """(S,): norm of the whole gradient of the last backward pass."""
        return torch.stack(self._squares).sum(0).sqrt()


class Autocast(nn.Module):
    """A model whose matrix products are bf16; DeepSpeed undoes an autocast around it, so it is inside."""

    def __init__(self, model: nn.Module, device: torch.device):
        super().__init__()
        self.model = model
        self.device_type = device.type

    def forward(self, *inputs: Any, **options: Any) -> Any:
        with torch.autocast(self.device_type, torch.bfloat16):
            return self.model(*inputs, **options)


class Engine(ABC):
    """Trains the models of several seeds together. What is computed alike wherever the weights lie is here.

    Where several ranks share the work, every method is called by all of them, in the same order.
    """

    name: str
    """how it computes, for the reader of a report"""
    corrections: int = 0
    """how often numbers that steps had returned were put right"""

    def __init__(
        self, config: RunConfig, vocabulary: int, seeds: Sequence[int], device: torch.device, ranks: Ranks = SINGLE
    ):
        self.seeds = tuple(seeds)
        self.vocabulary = vocabulary
        self.config = config
        self.device = device
        self.ranks = ranks
        self.micro_batches = micro_batches(config, ranks)
        self.samples = range(self.micro_batches[0].start, self.micro_batches[-1].stop)
        """the samples of each batch that this rank computes"""
        if device.type == "cuda":
            restrict_sdpa()
            fix_workspace()
        set_deterministic(config.train.deterministic)
        self.model = self.initial_model().to(device)
        self.dropout_sites = dropout_sites(self.model)
        self.dropout_words = Prefetch(partial(draw_words, self.dropout_sites, self.seeds), device)
        """of each step, (X, 2, S)"""
        self.parameters = dict(self.model.named_parameters())
        self.layers = [layer_index(name, config.model) for name in self.parameters]
        self.layer_count = len(layer_names(config.model))
        self.parameter_count = parameter_count(self.model)
        self.training_flops_per_token = training_flops_per_token(self.model, config.model)
        self.forward: nn.Module = Autocast(self.model, device) if config.train.precision == "bf16" else self.model
        """what a batch goes through: the model, or what an engine has wrapped it in"""
        self.micro_batch_norms = (
            MicroBatchGradNorms(list(self.parameters.values()), len(self.seeds)) if config.probes.noise_scale else None
        )

    def initial_model(self) -> GPT:
        """The model with the initial weights of its seeds."""
        return build_model(self.config.model, self.vocabulary, self.seeds)

    def _loss(self, step: int, batch_SBT: Tensor, samples: range) -> Tensor:
        """(S,): mean loss of one micro-batch of this rank's batch, with its graph."""
        part_SBT = batch_SBT[:, samples.start - self.samples.start : samples.stop - self.samples.start].to(self.device)
        key = draw_key(self.dropout_sites, samples, self.dropout_words.at(step))
        logits_SBTV, _ = self.forward(part_SBT[..., :-1], dropout_key=key)
        return token_losses(logits_SBTV, part_SBT[..., 1:]).mean((1, 2))

    def _measured(self, loss_S: Tensor, divisor: int) -> Tensor:
        """(X, S): what is recorded of a micro-batch after its backward pass: its loss, and its gradient's norm.

        Args:
            divisor: what the loss was divided by before that pass.
        """
        norms = [] if self.micro_batch_norms is None else [self.micro_batch_norms.last_S() * divisor]
        return torch.stack([loss_S.detach(), *norms])

    def _of_batch(self, measured_AXS: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """The (S,) mean loss of the batch, and the (S, M) gradient norms of all its micro-batches.

        Args:
            measured_AXS: of this rank's micro-batches, see `_measured`.
        """
        all_XSM = torch.stack(list(measured_AXS), dim=2)
        rank, size, count = self.ranks.rank, self.ranks.size, len(measured_AXS)
        if size > 1:
            own_XSA, all_XSM = all_XSM, all_XSM.new_zeros(*all_XSM.shape[:2], count * size)
            all_XSM[:, :, rank * count : (rank + 1) * count] = own_XSA
            self.ranks.all_reduce_sum(all_XSM)
        return all_XSM[0].mean(1), None if self.micro_batch_norms is None else all_XSM[1]

    @abstractmethod
    def train_step(self, step: int, batch_SBT: Tensor, lr: float, measure_updates: bool) -> StepOut:
        """Forward, backward, clip and update on the (S, B, T+1) characters of this rank's samples.

        It is one verb because some engines cannot be asked for the parts.
        """

    @abstractmethod
    def weights(self) -> State:
        """Parameters by name, each leading with the seed axis; the next step changes them."""

    @abstractmethod
    def state(self) -> State:
        """Everything that `load` needs to continue to the same bits, each tensor leading with the seed axis.

        There is a state once a step was taken; the next one changes its tensors. It says nothing about
        engine or ranks: any layout takes up what another one leaves.
        """

    @abstractmethod
    def load(self, step: int, state: State) -> None:
        """Take up the state that an engine of the same seeds had after `step`."""

    @torch.no_grad()
    def evaluate(self, windows_NT: Tensor) -> Tensor:
        """(S, N): mean loss of each window of T+1 characters, nats per character.

        Every rank takes its share of the chunks; a chunk is the same whoever computes it, and so are its bits.
        """
        chunks_BT = windows_NT.to(self.device).split(self.config.train.eval_batch_size)
        losses_SN = torch.zeros(len(self.seeds), len(windows_NT), device=self.device)
        of_chunks_SB = losses_SN.split(self.config.train.eval_batch_size, dim=1)
        rank, size = self.ranks.rank, self.ranks.size
        for first in range(0, len(chunks_BT), size):
            mine = first + rank
            chunk_BT = chunks_BT[min(mine, len(chunks_BT) - 1)]  # with nothing left, still part in sharded weights
            chunk_SBT = chunk_BT.expand(len(self.seeds), *chunk_BT.shape)
            logits_SBTV, _ = self.forward(chunk_SBT[..., :-1])
            if mine < len(chunks_BT):
                of_chunks_SB[mine].copy_(token_losses(logits_SBTV, chunk_SBT[..., 1:]).mean(2))
        return self.ranks.all_reduce_sum(losses_SN)

    @torch.no_grad()
    def observe(self, windows_NT: Tensor, capture: Collection[str]) -> dict[str, list[Tensor]]:
        """The captured intermediates (see `gpt.model.intermediates.INTERMEDIATES`) of a forward pass over windows of T
        characters.
        """
        windows_NT = windows_NT.to(self.device)
        _, intermediates = self.forward(windows_NT.expand(len(self.seeds), *windows_NT.shape), capture=capture)
        return intermediates

    @property
    def runs_ahead(self) -> bool:
        """Whether the device computes steps while the host goes on, which then asks for their numbers later."""
        return self.device.type == "cuda"

    def settle(self, through: int | None = None) -> None:  # noqa: B027  # most engines' numbers are final at once
        """Wait until what the steps so far, or through that one, have returned is final."""

    def take_events(self) -> list[dict[str, Any]]:
        """What happened in settled steps for reasons of the engine's own, once."""
        return []

    def leave_fast_path(self) -> None:  # noqa: B027  # most engines have one path
        """Compute steps operator by operator from here on."""

    def whole_model(self) -> GPT:
        """A model of this shape that computes with weights handed to it, on one rank alone; its own may be any."""
        return GPT(self.config.model, self.vocabulary, seeds=1).to(self.device)

    def close(self) -> None:  # noqa: B027  # most engines hold nothing
        """Let go of what outlives the engine; it is not used again."""


def check_sharded(config: RunConfig, engine: str) -> None:
    """Refuse what an engine whose ranks hold shards of the weights cannot train.

    Raises:
        InputError: names the field.
    """
    got = config.train.reduction
    if config.train.step not in ("auto", "eager"):
        raise InputError(f"train.step: got {config.train.step}, must be auto or eager with {engine}")
    if got != "fast":
        raise InputError(f"train.reduction: got {got}, must be fast with {engine}, which adds up gradients itself")
    if not OPTIMIZERS[config.optim.optimizer].elementwise:
        elementwise = ", ".join(name for name, optimizer in OPTIMIZERS.items() if optimizer.elementwise)
        raise InputError(
            f"optim.optimizer: got {config.optim.optimizer}, must be one of {elementwise} with {engine}, whose ranks "
            "hold shards: it updates no element by itself"
        )
