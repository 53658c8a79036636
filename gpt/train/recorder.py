"""The rows and events of one run, and its best evaluation."""

import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from torch import Tensor

from gpt.config import RunConfig
from gpt.records.jsonl import NOTHING, JsonlWriter, read_jsonl
from gpt.records.run_folder import RunFolder, load_arrays, save_arrays
from gpt.records.schema import FAST_STEP_LEFT, VAL_LOSS, WINDOW_IS_TEST, WINDOW_LOSS_BEST, WINDOW_LOSS_LAST
from gpt.train.events import EventDetector


class RunRecorder:
    """Appends rows and the events that they bring, up to the row with which the run becomes non-finite."""

    def __init__(self, run: RunFolder, config: RunConfig, start: int, offsets: Mapping[str, Any]):
        """Resume after the step `start`, keeping the records up to their `offsets` and the arrays up to that step."""
        self.folder = run
        self.best_loss = math.inf
        self._rows = JsonlWriter(run.metrics, offsets.get("metrics", NOTHING))
        self._events = JsonlWriter(run.events, offsets.get("events", NOTHING))
        before = read_jsonl(run.events)
        self.left_fast_path = any(event["kind"] == FAST_STEP_LEFT for event in before)
        """whether an earlier attempt found compiled steps at fault, so that this one goes without"""
        self.detector = EventDetector(config.model.context, before)
        for row in read_jsonl(run.metrics):
            self.detector.observe(row)
            if not self.ended:
                self.best_loss = min(self.best_loss, row.get(VAL_LOSS, math.inf))
        run.drop_probes_after(start)

    @property
    def ended(self) -> bool:
        """Nothing more is recorded: the run has become non-finite."""
        return bool(self.detector.why)

    def write(self, rows: Sequence[dict[str, Any]], of_engine: Sequence[dict[str, Any]] = ()) -> bool:
        """Append rows, up to and with the one that ends the run; True if the last brought a new best evaluation.

        Args:
            of_engine: events besides those that the rows bring.
        """
        kept: list[dict[str, Any]] = []
        events = [] if self.ended else list(of_engine)
        for row in rows:
            if self.ended:
                break
            events += self.detector.observe(row)
            kept.append(row)
        self._rows.append(kept)
        self._events.append(sorted(events, key=itemgetter("step")))
        last_loss = kept[-1].get(VAL_LOSS, math.inf) if kept and not self.ended else math.inf
        improved = last_loss < self.best_loss
        self.best_loss = min(self.best_loss, last_loss)
        return improved

    def on_attention_entropy(self, step: int, entropy_L: Sequence[float]) -> None:
        """Note what the attention entropies measured at a step amount to."""
        self._events.append(self.detector.on_attention_entropy(step, entropy_L))

    def keep_windows(self, step: int, loss_N: Tensor, validation: int, is_best: bool, is_last: bool) -> None:
        """Keep the losses of the held-out windows, the first so many of validation text, at these two steps alone."""
        if self.ended or not (is_best or is_last):
            return
        losses = loss_N.cpu().numpy()
        best = losses if is_best else load_arrays(self.folder.window_losses)[WINDOW_LOSS_BEST]
        arrays = {WINDOW_LOSS_BEST: best, WINDOW_IS_TEST: np.arange(len(losses)) >= validation}
        last = {WINDOW_LOSS_LAST: losses} if is_last else {}
        save_arrays(self.folder.window_losses, {**arrays, **last}, {"step": str(step)})

    def offsets(self) -> dict[str, Any]:
        """How far the records are written, for the attempt that resumes from here."""
        return {"metrics": self._rows.offset(), "events": self._events.offset()}

    def sync(self) -> None:
        """Bring everything written so far to the disk."""
        self._rows.sync()
        self._events.sync()

    def close(self) -> None:
        self._rows.close()
        self._events.close()
