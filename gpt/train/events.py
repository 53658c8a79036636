"""Events of a run: what became non-finite, jumped, drifted, went up and down, ended badly or collapsed.

Rules are functions of what is recorded alone, so a resumed run finds the same events.
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
    LEARNED_NOTHING,
    NONFINITE,
    OSCILLATION,
    REGRESSED,
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
REGRESSED_NATS = 0.1
"""a run that ends this far above its best evaluation, and above the training loss at that, has regressed"""
LEARNED_NOTHING_MARGIN = 0.05
"""a run that does not end this far below the unigram loss has nothing left of what context tells, nats per character"""
COLLAPSED_SHARE = 0.05
"""a layer whose mean attention entropy is below this share of even attention's has collapsed"""
BOUND_EVERY = 10
"""steps between those for which the smallest visible jump is computed"""

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
        self._spike = loss_spike()
        self._norm_spike = Jump(math.log(GRAD_NORM_FACTOR), math.log(GRAD_NORM_FACTOR))
        self._drift, self._oscillation = Drift(DRIFT_NATS), Oscillation(OSCILLATION_NATS)
        self._best = self._last = math.inf
        self._level_at_best = math.inf
        self._collapsed = any(event["kind"] == ENTROPY_COLLAPSE for event in before)

    def observe(self, row: StepRecord) -> list[dict[str, Any]]:
        """The events that this row brings."""
        step = row["step"]
        for key in (TRAIN_LOSS, GRAD_NORM, VAL_LOSS, TEST_LOSS):
            if key in row and (row[key] is None or not math.isfinite(row[key])):
                self.why = f"{key} not finite at step {step}"
                return [{"step": step, "kind": NONFINITE, "key": key}]
        found = [*self._of_loss(row), *self._of_norm(row), *self._of_evaluations(row)]
        return [{"step": step, **event} for event in found]

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

    def _of_loss(self, row: StepRecord) -> Iterator[dict[str, Any]]:
        if TRAIN_LOSS not in row:
            return
        loss = row[TRAIN_LOSS]
        if (trend := self._spike.observe(loss)) is not None:
            yield {"kind": SPIKE, "loss": loss, "median": trend}
        if rise := self._drift.observe(loss):
            yield {"kind": DRIFT, "level": rise.level, "lowest": rise.lowest}
        if swing := self._oscillation.observe(loss):
            yield {"kind": OSCILLATION, "swing": swing.height, "period": swing.period}

    def _of_norm(self, row: StepRecord) -> Iterator[dict[str, Any]]:
        norm = row.get(GRAD_NORM, 0.0)
        if norm > 0 and (trend := self._norm_spike.observe(math.log(norm))) is not None:
            yield {"kind": GRAD_NORM_SPIKE, "norm": norm, "median": math.exp(trend)}

    def _of_evaluations(self, row: StepRecord) -> Iterator[dict[str, Any]]:
        """What a last row tells: that the run fell back from its best, or has nothing left of what it learned.

        A run that overfitted may end as high on validation text, but its training loss did not rise.
        """
        self._last = row.get(VAL_LOSS, self._last)
        if self._last < self._best:
            self._best, self._level_at_best = self._last, self._drift.level
        if row["step"] < self.steps:
            return
        level = self._drift.level
        if min(self._last - self._best, level - self._level_at_best) > REGRESSED_NATS:
            yield {"kind": REGRESSED, "loss": self._last, "lowest": self._best}
        most = self.unigram_loss - LEARNED_NOTHING_MARGIN
        if self._last >= most and (self._best >= most or level >= self._best):
            self.why = (
                f"learned nothing: its last validation loss {self._last:.3f} (lowest {self._best:.3f}) is not "
                f"{LEARNED_NOTHING_MARGIN:g} below the unigram loss {self.unigram_loss:.3f}"
            )
            yield {"kind": LEARNED_NOTHING, "loss": self._last, "unigram_loss": self.unigram_loss}


def loss_spike() -> Jump:
    """The rule for spikes of the training loss."""
    return Jump(SPIKE_NATS, EARLY_SPIKE_NATS)


def smallest_spike(losses: Sequence[float]) -> float:
    """The smallest jump of these training losses that would have been seen, nats: the median over their steps."""
    rule, bounds = loss_spike(), []
    for step, loss in enumerate(losses, start=1):
        rule.observe(loss)
        if step % BOUND_EVERY == 0:
            bounds.append(rule.bound())
    return float(np.median(bounds)) if bounds else math.nan
