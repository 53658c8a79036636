"""Events in a run's loss: it left the finite numbers, jumped, or never left the unigram loss.

Rules are functions of the recorded rows alone, so a resumed run finds the same events.
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

SPIKE_WINDOW = 100
"""steps that a loss is compared with"""
SPIKE_HISTORY = 25
"""steps needed before anything is called a spike"""
SPIKE_DEVIATIONS = 8.0
"""robust standard deviations above the window's median that make a spike"""
SPIKE_NATS = 0.25
"""least rise above the window's median that makes a spike, nats per character"""
STUCK_MARGIN = 0.05
"""a run that never gets this far below the unigram loss has learned nothing from context, nats per character"""

Row = Mapping[str, Any]


class Stability:
    """Feeds on one run's rows, in order, and names what happened."""

    def __init__(self, unigram_loss: float, steps: int):
        self.unigram_loss = unigram_loss
        self.steps = steps
        self.why = ""
        """why the run counts as diverged; empty while it does not"""
        self._recent: deque[float] = deque(maxlen=SPIKE_WINDOW)
        self._in_spike = False
        self._best = math.inf

    def observe(self, row: Row) -> list[dict[str, Any]]:
        """The events that this row brings."""
        step = row["step"]
        for key in ("train/loss", "grad/norm", "val/loss"):
            if key in row and (row[key] is None or not math.isfinite(row[key])):
                self.why = f"{key} not finite at step {step}"
                return [{"step": step, "kind": "nonfinite", "key": key}]
        return [*self._spikes(row), *self._stuck(row)]

    def _spikes(self, row: Row) -> list[dict[str, Any]]:
        if "train/loss" not in row:
            return []
        loss, spike = row["train/loss"], None
        if len(self._recent) >= SPIKE_HISTORY:
            window = np.array(self._recent)
            median = float(np.median(window))
            deviation = 1.4826 * float(np.median(np.abs(window - median)))
            if loss > median + max(SPIKE_NATS, SPIKE_DEVIATIONS * deviation):
                spike = {"step": row["step"], "kind": "spike", "loss": loss, "median": median}
        self._recent.append(loss)
        begins = spike is not None and not self._in_spike
        self._in_spike = spike is not None
        return [spike] if spike is not None and begins else []

    def _stuck(self, row: Row) -> list[dict[str, Any]]:
        self._best = min(self._best, row.get("val/loss", math.inf))
        if row["step"] < self.steps or self._best < self.unigram_loss - STUCK_MARGIN:
            return []
        self.why = (
            f"stuck: its best validation loss {self._best:.3f} is not {STUCK_MARGIN:g} below "
            f"the unigram loss {self.unigram_loss:.3f}"
        )
        return [{"step": row["step"], "kind": "stuck", "loss": self._best, "unigram_loss": self.unigram_loss}]
