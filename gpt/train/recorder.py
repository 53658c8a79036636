"""From what the engine returns to what a run's folder holds.

Shapes: S seed, L layer, N validation window.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gpt.config import RunConfig
from gpt.records.jsonl import NOTHING, JsonlWriter, read_jsonl
from gpt.records.run_folder import RunFolder
from gpt.records.schema import MICRO_BATCH_GRAD_NORM
from gpt.train.engines.engine import StepOut
from gpt.train.engines.ranks import SINGLE, Ranks
from gpt.train.events import EventDetector

FLUSH_EVERY = 50
"""steps whose numbers stay on the device before they are written, so that recording never waits for a GPU"""


class RunRecorder:
    """The rows, events and best evaluation of one run."""

    def __init__(self, run: RunFolder, config: RunConfig, unigram_loss: float, start: int, offsets: Mapping[str, Any]):
        self.folder = run
        self.best_loss = math.inf
        self._rows = JsonlWriter(run.metrics, offsets.get("metrics", NOTHING))
        self._events = JsonlWriter(run.events, offsets.get("events", NOTHING))
        self.stability = EventDetector(
            unigram_loss, config.train.steps, config.model.context, before=read_jsonl(run.events)
        )
        for row in read_jsonl(run.metrics):
            self.stability.observe(row)
            if not self.ended:
                self.best_loss = min(self.best_loss, row.get("val/loss", math.inf))
        run.drop_probes_after(start)

    @property
    def ended(self) -> bool:
        """Nothing more is recorded: the run has left the finite numbers."""
        return "not finite" in self.stability.why

    def write(self, rows: Sequence[dict[str, Any]]) -> bool:
        """Append rows, up to and with the one that ends the run; True if the last brought a new best evaluation."""
        kept: list[dict[str, Any]] = []
        events: list[dict[str, Any]] = []
        for row in rows:
            if self.ended:
                break
            events += self.stability.observe(row)
            kept.append(row)
        self._rows.append(kept)
        self._events.append(events)
        last_loss = kept[-1].get("val/loss", math.inf) if kept and not self.ended else math.inf
        improved = last_loss < self.best_loss
        self.best_loss = min(self.best_loss, last_loss)
        return improved

    def on_attention_entropy(self, step: int, entropy_L: Sequence[float]) -> None:
        """Note what the attention entropies measured at a step amount to."""
        if not self.ended:
            self._events.append(self.stability.on_attention_entropy(step, entropy_L))

    def offsets(self) -> dict[str, Any]:
        """How far the records are written, for whoever resumes from here."""
        return {"metrics": self._rows.offset(), "events": self._events.offset()}

    def sync(self) -> None:
        """Bring everything written so far to the disk."""
        self._rows.sync()
        self._events.sync()

    def close(self) -> None:
        self._rows.close()
        self._events.close()


class Recorder:
    """The recorders of the runs trained together, fed from tensors that lead with their seed axis.

    Where several ranks share the work, one of them writes; what it finds, the others are told.
    """

    def __init__(
        self,
        runs: Sequence[RunFolder],
        config: RunConfig,
        unigram_loss: float,
        start: int = -1,
        offsets: Sequence[Mapping[str, Any]] = (),
        ranks: Ranks = SINGLE,
    ):
        """Go on after the step `start` of every run, whose records are kept up to their `offsets`."""
        offsets = offsets or [{}] * len(runs)
        self.runs = [
            RunRecorder(run, config, unigram_loss, start, kept)
            for run, kept in zip(runs if ranks.is_main else (), offsets if ranks.is_main else (), strict=True)
        ]
        self._ranks = ranks
        self._waiting: list[tuple[int, float, StepOut]] = []

    def step(self, step: int, lr: float, out: StepOut) -> None:
        """Take one training step's numbers."""
        if not self._ranks.is_main:
            return
        if len(self._waiting) >= FLUSH_EVERY:  # this step itself waits, for its evaluation may follow
            self.flush()
        self._waiting.append((step, lr, out))

    def evaluated(self, step: int, val_loss_S: Tensor) -> list[bool]:
        """Write all waiting rows, the last one with its evaluation; for each seed, whether that is its best."""
        return self._ranks.broadcast_object(self._flush(step, val_loss_S))

    def probed(self, step: int, arrays: Mapping[str, Tensor]) -> None:
        """Note what the probes' arrays amount to, once all rows up to this step are written."""
        if "attention_entropy" in arrays:
            entropy_SL = arrays["attention_entropy"].mean(2)
            for run, entropy_L in zip(self.runs, entropy_SL.tolist(), strict=self._ranks.is_main):
                run.on_attention_entropy(step, entropy_L)

    def flush(self) -> None:
        """Write all waiting rows."""
        self._flush()

    def _flush(self, step: int = 0, val_loss_S: Tensor | None = None) -> list[bool]:
        rows_S: list[list[dict[str, Any]]] = [[] for _ in self.runs]
        if self._waiting:
            steps, lrs, outs = zip(*self._waiting, strict=True)
            columns = {
                "train/loss": torch.stack([o.loss_S for o in outs], dim=1),
                "grad/norm": torch.stack([o.grad_norm_S for o in outs], dim=1),
                "grad/clip_scale": torch.stack([o.clip_scale_S for o in outs], dim=1),
                "grad/layer_norm": torch.stack([o.layer_grad_norm_SL for o in outs], dim=1),
            }
            if outs[0].micro_batch_norm_SM is not None:
                columns[MICRO_BATCH_GRAD_NORM] = torch.stack([o.micro_batch_norm_SM for o in outs], dim=1)
            values = {key: column.tolist() for key, column in columns.items()}
            for s, rows in enumerate(rows_S):
                for i, (at, lr) in enumerate(zip(steps, lrs, strict=True)):
                    rows.append({"step": at, "lr": lr, **{key: value[s][i] for key, value in values.items()}})
            self._waiting.clear()
        if val_loss_S is not None:
            for rows, val_loss in zip(rows_S, val_loss_S.tolist(), strict=self._ranks.is_main):
                if not rows:
                    rows.append({"step": step})
                rows[-1]["val/loss"] = val_loss
        return [run.write(rows) for run, rows in zip(self.runs, rows_S, strict=True)]

    def sync(self) -> None:
        self.flush()
        for run in self.runs:
            run.sync()

    def close(self) -> None:
        for run in self.runs:
            run.close()

    @property
    def all_ended(self) -> bool:
        """Whether every run has left the finite numbers; only the rank that writes can know."""
        return self._ranks.is_main and all(run.ended for run in self.runs)
