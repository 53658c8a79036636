"""Steps by fused kernels (torch.compile): forward and backward pass, norms and clipping; one process.

A compiled kernel can be wrong where the plain one is right, so no step of it is trusted that is not finite. On the
device itself such a step moves nothing, and neither do the steps after it, until the host has looked; it is then
computed again, operator by operator, from the same weights. If that is finite, the kernel was at fault and the run goes
on without it; if not, the run has become non-finite by itself, and that is what is recorded.

Shapes: S seed, B sample, T position, L layer, X place that drops.
"""

import itertools
import types
import warnings
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from gpt.config import RunConfig
from gpt.model.dropout import draw_key
from gpt.model.gpt import GPT, token_losses
from gpt.records.schema import FAST_STEP_LEFT
from gpt.train.engines.engine import State, StepOut
from gpt.train.engines.ranks import SINGLE, Ranks
from gpt.train.engines.replicated import require
from gpt.train.engines.single_process import SingleProcessEngine
from gpt.train.optim.clipping import clip_scale, layer_norms, scale_gradients

BACKEND = "inductor"
"""torch.compile's own, which writes fused kernels"""
UNSEEN = 128
"""steps that the device may be ahead of the host's look at their numbers; the host waits for an older one"""

_COUNT = itertools.count()


@dataclass(frozen=True)
class Unseen:
    """A step whose numbers the host has not looked at yet, and what it takes to compute it again."""

    step: int
    batch_SBT: Tensor
    lr: float
    measure_updates: bool
    out: StepOut
    held: Tensor
    """1 if this step or one before it was not finite; on the host, once `ready`"""
    ready: "torch.cuda.Event | None"

    @property
    def is_held(self) -> bool:
        if self.ready is not None:
            self.ready.synchronize()
        return bool(self.held)


class CompiledEngine(SingleProcessEngine):
    """Evaluations and probes, of other shapes, are computed as ever."""

    name = "single process, compiled"

    def __init__(
        self, config: RunConfig, vocabulary: int, seeds: Sequence[int], device: torch.device, ranks: Ranks = SINGLE
    ):
        super().__init__(config, vocabulary, seeds, device, ranks)
        self._held = torch.zeros((), device=device)
        """1 once a step was not finite: nothing moves any more"""
        self._alive_S = torch.ones(len(self.seeds), dtype=torch.bool, device=device)
        """seeds that have not become non-finite by themselves"""
        self._unseen: deque[Unseen] = deque()
        self._left = False
        self._events: list[dict[str, Any]] = []
        # masks are keyed by the samples' numbers; without any, all micro-batches are alike
        keyed = self.micro_batches if self.dropout_sites else self.micro_batches[:1]
        losses = [compiled(self._loss_of(samples)) for samples in keyed]
        self._losses = losses if self.dropout_sites else losses * len(self.micro_batches)
        self._clip = compiled(self._clip_of())

    def _loss_of(self, samples: range) -> Callable[[Tensor, Tensor], Tensor]:
        sites, forward = self.dropout_sites, self.forward

        def loss(part_SBT: Tensor, words_X2S: Tensor) -> Tensor:
            key = draw_key(sites, samples, words_X2S)
            logits_SBTV, _ = forward(part_SBT[..., :-1], dropout_key=key)
            return token_losses(logits_SBTV, part_SBT[..., 1:]).mean((1, 2))

        return loss

    def _clip_of(self) -> Callable[[Sequence[Tensor], Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
        layers, count, limit = self.layers, self.layer_count, self.config.optim.clip

        def clip(
            gradients: Sequence[Tensor], loss_S: Tensor, alive_S: Tensor, held: Tensor
        ) -> tuple[Tensor, Tensor, Tensor]:
            layer_grad_norm_SL = layer_norms(gradients, layers, count)
            grad_norm_S = torch.linalg.vector_norm(layer_grad_norm_SL, dim=1)
            scale_S = clip_scale(grad_norm_S, limit)
            scale_gradients(gradients, scale_S)
            wrong = (alive_S & ~(loss_S.isfinite() & grad_norm_S.isfinite())).any()
            held.copy_(torch.maximum(held, wrong.to(held)))
            return layer_grad_norm_SL, grad_norm_S, scale_S

        return clip

    def train_step(self, step: int, batch_SBT: Tensor, lr: float, measure_updates: bool) -> StepOut:
        if self._left:
            return self._plain(step, batch_SBT, lr, measure_updates)
        before = [p.detach().clone() for p in self.parameters.values()] if measure_updates else None
        self.optimizer.found_inf = self._held
        out = self._fast(self.dropout_words.at(step), batch_SBT.to(self.device), lr)
        if before:
            out = StepOut(**{**_fields(out), "update_ratio_SL": self._update_ratio(before)})
        self._unseen.append(Unseen(step, batch_SBT, lr, measure_updates, out, *self._to_host()))
        self._look(UNSEEN)
        return out

    def _fast(self, words_X2S: Tensor, batch_SBT: Tensor, lr: float) -> StepOut:
        """The step by compiled kernels."""
        return self._work(words_X2S, batch_SBT, lr)

    def _work(self, words_X2S: Tensor, batch_SBT: Tensor, lr: float | Tensor) -> StepOut:
        """The same, with a rate that may be on the device."""
        measured = []
        for samples, loss in zip(self.micro_batches, self._losses, strict=True):
            loss_S = loss(batch_SBT[:, samples.start : samples.stop], words_X2S)
            (loss_S / self.divisor).sum().backward()
            measured.append(self._measured(loss_S, self.divisor))
        loss_S, micro_batch_norm_SM = self._of_batch(measured)
        gradients = [require(p.grad) for p in self.parameters.values()]
        with torch.no_grad():
            layer_grad_norm_SL, grad_norm_S, scale_S = self._clip(gradients, loss_S, self._alive_S, self._held)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return StepOut(loss_S, grad_norm_S, layer_grad_norm_SL, scale_S, micro_batch_norm_SM, None)

    def _plain(self, step: int, batch_SBT: Tensor, lr: float, measure_updates: bool) -> StepOut:
        self.optimizer.found_inf = None
        return super().train_step(step, batch_SBT, lr, measure_updates)

    def _to_host(self) -> "tuple[Tensor, torch.cuda.Event | None]":
        """The flag as it is after the steps so far, without waiting for them."""
        if self.device.type != "cuda":
            return self._held.clone(), None
        held = torch.empty((), pin_memory=True).copy_(self._held, non_blocking=True)
        ready = torch.cuda.Event()
        ready.record()
        return held, ready

    def _look(self, leave: int) -> None:
        """Look at the numbers of all steps but the last few; compute again what was not finite, and what came after."""
        while len(self._unseen) > leave:
            if not self._unseen[0].is_held:
                self._unseen.popleft()
                continue
            first, *later = self._unseen
            self._unseen.clear()
            self._held.zero_()
            self._compute_again(first)
            for unseen in later:
                again = self.train_step(unseen.step, unseen.batch_SBT, unseen.lr, unseen.measure_updates)
                _overwrite(unseen.out, again)
                if self._unseen:
                    self._unseen[-1] = replace(self._unseen[-1], out=unseen.out)
            self.corrections += 1

    def _compute_again(self, unseen: Unseen) -> None:
        """Let the plain step say what the first step that was not finite is."""
        plain = self._plain(unseen.step, unseen.batch_SBT, unseen.lr, unseen.measure_updates)
        finite_S = plain.loss_S.isfinite() & plain.grad_norm_S.isfinite()
        if bool((finite_S | ~self._alive_S).all()):
            self.leave_fast_path()
            self._events.append({"step": unseen.step, "kind": FAST_STEP_LEFT, "engine": self.name})
        self._alive_S &= finite_S
        _overwrite(unseen.out, plain)

    def settle(self, through: int | None = None) -> None:
        self._look(0 if through is None else sum(unseen.step > through for unseen in self._unseen))

    def leave_fast_path(self) -> None:
        self._left = True

    def take_events(self) -> list[dict[str, Any]]:
        taken, self._events = self._events, []
        return taken

    def evaluate(self, windows_NT: Tensor) -> Tensor:
        self.settle()
        return super().evaluate(windows_NT)

    def observe(self, windows_NT: Tensor, capture: Collection[str]) -> dict[str, list[Tensor]]:
        self.settle()
        return super().observe(windows_NT, capture)

    def weights(self) -> State:
        self.settle()
        return super().weights()

    def whole_model(self) -> GPT:
        self.settle()
        return super().whole_model()

    def state(self) -> State:
        self.settle()
        return super().state()

    def load(self, step: int, state: State) -> None:
        self.settle()
        super().load(step, state)
        self._alive_S.fill_(True)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function compiled for its first arguments' shapes, each of which stays as it is.

    Its code is copied: a compiler keeps what it made with the code, and of one code no more than eight.
    """
    name = f"{function.__name__}_{next(_COUNT)}"
    copy = types.FunctionType(
        function.__code__.replace(co_name=name), function.__globals__, name, None, function.__closure__
    )
    fast = torch.compile(copy, backend=BACKEND, dynamic=False, fullgraph=True)

    def call(*arguments: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own code, as it compiles
            return fast(*arguments)

    return call


def _fields(out: StepOut) -> dict[str, Any]:
    return {field.name: getattr(out, field.name) for field in fields(out)}


def _overwrite(old: StepOut, new: StepOut) -> None:
    """Put a step's right numbers where its wrong ones are waiting to be recorded."""
    for name, value in _fields(new).items():
        if value is not None:
            getattr(old, name).copy_(value)
