"""Events of a run: it became non-finite, its loss jumped or ended at the unigram loss, its attention collapsed.

Rules are functions of what is recorded alone, so a resumed run finds the same events.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpt.probes.attention import even_entropy
from gpt.records.schema import (
    ENTROPY_COLLAPSE,
    GRAD_NORM,
    LEARNED_NOTHING,
    NONFINITE,
    SPIKE,
    TEST_LOSS,
    TRAIN_LOSS,
    VAL_LOSS,
)

SPIKE_WINDOW = 100
"""steps that a loss is compared with"""
SPIKE_HISTORY = 25
"""steps needed before anything is called a spike"""
SPIKE_DEVIATIONS = 8.0
"""robust standard deviations above the window's median that make a spike"""
SPIKE_NATS = 0.25
"""least rise above the window's median that makes a spike, nats per character"""
LEARNED_NOTHING_MARGIN = 0.05
"""a run that does not end this far below the unigram loss has nothing left of what context tells, nats per character"""
COLLAPSED_SHARE = 0.05
"""a layer whose mean attention entropy is below this share of even attention's has collapsed"""

StepRecord = Mapping[str, Any]


class EventDetector:
    """Feeds on one run's rows and probed entropies, in order, and names what happened."""

    def __init__(self, unigram_loss: float, steps: int, context: int, before: Sequence[StepRecord] = ()):
        """
        Args:
            unigram_loss: of a model that knows only how frequent each character is, nats per character.
            before: events that an earlier attempt found.
        """
        self.unigram_loss = unigram_loss
        self.steps = steps
        self.least_entropy = COLLAPSED_SHARE * even_entropy(context)
        self.why = ""
        """why the run counts as diverged; empty while it does not"""
        self._recent: deque[float] = deque(maxlen=SPIKE_WINDOW)
        self._in_spike = False
        self._best = self._last = math.inf
        self._collapsed = any(event["kind"] == ENTROPY_COLLAPSE for event in before)

    def observe(self, row: StepRecord) -> list[dict[str, Any]]:
        """The events that this row brings."""
        step = row["step"]
        for key in (TRAIN_LOSS, GRAD_NORM, VAL_LOSS, TEST_LOSS):
            if key in row and (row[key] is None or not math.isfinite(row[key])):
                self.why = f"{key} not finite at step {step}"
                return [{"step": step, "kind": NONFINITE, "key": key}]
        return [*self._spikes(row), *self._learned_nothing(row)]

    def on_attention_entropy(self, step: int, entropy_L: Sequence[float]) -> list[dict[str, Any]]:
        """The event that a probed step brings: the first at which a layer's attention has collapsed.

        No reason by itself to call a run diverged; it goes along with instability (Zhai et al. 2023).

        Args:
            entropy_L: mean attention entropy of each layer, nats.
        """
        low = [layer for layer, entropy in enumerate(entropy_L) if entropy < self.least_entropy]
        if self._collapsed or not low:
            return []
        self._collapsed = True
        what = {"layer": low[0], "entropy": entropy_L[low[0]], "at_most": self.least_entropy}
        return [{"step": step, "kind": ENTROPY_COLLAPSE, **what}]

    def _spikes(self, row: StepRecord) -> list[dict[str, Any]]:
        if TRAIN_LOSS not in row:
            return []
        loss, spike = row[TRAIN_LOSS], None
        if len(self._recent) >= SPIKE_HISTORY:
            window = np.array(self._recent)
            median = float(np.median(window))
            deviation = 1.4826 * float(np.median(np.abs(window - median)))
            if loss > median + max(SPIKE_NATS, SPIKE_DEVIATIONS * deviation):
                spike = {"step": row["step"], "kind": SPIKE, "loss": loss, "median": median}
        self._recent.append(loss)
        begins = spike is not None and not self._in_spike
        self._in_spike = spike is not None
        return [spike] if spike is not None and begins else []

    def _learned_nothing(self, row: StepRecord) -> list[dict[str, Any]]:
        """The event of a last row at the unigram loss: of a run that never left it, or fell back to it.

        A run that overfitted may end as high on validation text, but its training loss is below its best evaluation.
        """
        self._last = row.get(VAL_LOSS, self._last)
        self._best = min(self._best, self._last)
        level = self.unigram_loss - LEARNED_NOTHING_MARGIN
        never = self._best >= level
        if row["step"] < self.steps or self._last < level or not (never or np.median(self._recent) >= self._best):
            return []
        self.why = (
            f"learned nothing: its last validation loss {self._last:.3f} (lowest {self._best:.3f}) is not "
            f"{LEARNED_NOTHING_MARGIN:g} below the unigram loss {self.unigram_loss:.3f}"
        )
        return [{"step": row["step"], "kind": LEARNED_NOTHING, "loss": self._last, "unigram_loss": self.unigram_loss}]
