"""Events of a run: what became non-finite, jumped, drifted, went up and down or collapsed.

Rules are functions of what is recorded alone, so a resumed run finds the same events. How a run ended is no event:
`gpt.analysis.outcomes` reads that off its rows.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gpt.probes.attention import even_entropy
from gpt.records.schema import (
    DRIFT,
    ENTROPY_COLLAPSE,
    GRAD_NORM,
    GRAD_NORM_SPIKE,
    NONFINITE,
    OSCILLATION,
    SPIKE,
    TEST_LOSS,
    TRAIN_LOSS,
    VAL_LOSS,
)
from gpt.train.detectors import Drift, Jump, Oscillation

SPIKE_NATS = 0.25
"""least rise above the trend that makes a spike, nats per character"""
EARLY_SPIKE_NATS = 1.0
"""the same among the first losses"""
GRAD_NORM_FACTOR = 6.0
"""least multiple of its trend that makes a spike of the gradient norm, whose tails are heavier than the loss's"""
DRIFT_NATS = 0.05
"""least rise above the lowest level that makes a drift, nats per character"""
OSCILLATION_NATS = 0.25
"""least swing from bottom to top that makes an oscillation, nats per character"""
COLLAPSED_SHARE = 0.05
"""a layer whose mean attention entropy is below this share of even attention's has collapsed"""
BOUND_EVERY = 10
"""steps between those for which the smallest visible jump is computed"""

StepRecord = Mapping[str, Any]


class EventDetector:
    """Feeds on one run's rows and probed entropies, in order, and names what happened."""

    def __init__(self, context: int, before: Sequence[StepRecord] = ()):
        """
        Args:
            before: events that an earlier attempt found.
        """
        self.least_entropy = COLLAPSED_SHARE * even_entropy(context)
        self.why = ""
        """what became non-finite, and when; empty while nothing has"""
        self._spike = loss_spike()
        self._norm_spike = Jump(math.log(GRAD_NORM_FACTOR), math.log(GRAD_NORM_FACTOR))
        self._drift, self._oscillation = Drift(DRIFT_NATS), Oscillation(OSCILLATION_NATS)
        self._bounds: list[float] = []
        self._collapsed = any(event["kind"] == ENTROPY_COLLAPSE for event in before)

    @property
    def smallest_spike(self) -> float:
        """The smallest jump of the training losses so far that would have been seen, nats: the median over steps."""
        return float(np.median(self._bounds)) if self._bounds else math.nan

    def observe(self, row: StepRecord) -> list[dict[str, Any]]:
        """The events that this row brings."""
        step = row["step"]
        for key in (TRAIN_LOSS, GRAD_NORM, VAL_LOSS, TEST_LOSS):
            if key in row and (row[key] is None or not math.isfinite(row[key])):
                self.why = f"{key} not finite at step {step}"
                return [{"step": step, "kind": NONFINITE, "key": key}]
        found = [*self._of_loss(row), *self._of_norm(row)]
        return [{"step": step, **event} for event in found]

    def on_attention_entropy(self, step: int, entropy_L: Sequence[float]) -> list[dict[str, Any]]:
        """The event that a probed step brings: the first at which a layer's attention has collapsed.

        No failure by itself; it goes along with instability (Zhai et al. 2023).

        Args:
            entropy_L: mean attention entropy of each layer, nats.
        """
        low = [layer for layer, entropy in enumerate(entropy_L) if entropy < self.least_entropy]
        if self._collapsed or not low:
            return []
        self._collapsed = True
        what = {"layer": low[0], "entropy": entropy_L[low[0]], "at_most": self.least_entropy}
        return [{"step": step, "kind": ENTROPY_COLLAPSE, **what}]

    def _of_loss(self, row: StepRecord) -> Iterator[dict[str, Any]]:
        if TRAIN_LOSS not in row:
            return
        loss = row[TRAIN_LOSS]
        if (trend := self._spike.observe(loss)) is not None:
            yield {"kind": SPIKE, "loss": loss, "median": trend}
        if row["step"] % BOUND_EVERY == 0:
            self._bounds.append(self._spike.bound())
        if rise := self._drift.observe(loss):
            yield {"kind": DRIFT, "level": rise.level, "lowest": rise.lowest}
        if swing := self._oscillation.observe(loss):
            yield {"kind": OSCILLATION, "swing": swing.height, "period": swing.period}

    def _of_norm(self, row: StepRecord) -> Iterator[dict[str, Any]]:
        norm = row.get(GRAD_NORM, 0.0)
        if norm > 0 and (trend := self._norm_spike.observe(math.log(norm))) is not None:
            yield {"kind": GRAD_NORM_SPIKE, "norm": norm, "median": math.exp(trend)}


def loss_spike() -> Jump:
    """The rule for spikes of the training loss."""
    return Jump(SPIKE_NATS, EARLY_SPIKE_NATS)
