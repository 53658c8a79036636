"""Curves of training with something planted in them, and what the events and the end of a run make of them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.outcomes import Baselines, ending
from gpt.train.events import EventDetector

UNIGRAM = 3.347
BASELINES = Baselines(unigram=UNIGRAM, bigram=2.485, unigram_train=3.315)
STEPS = 1200

AT = (1, 3, 8, 16, 30, 50, 80, 120, 200, 400, 700, 1200)
LOSS = (4.17, 4.17, 4.09, 3.91, 3.72, 3.37, 2.93, 2.60, 2.40, 2.25, 2.11, 2.01)
"""the median training loss at these steps of 16 recorded runs of configs/runs/char_quick.yaml, then how they go on"""
NOISE_AT, NOISE = (1, 20, 50, 100, 200), (0.01, 0.015, 0.03, 0.045, 0.055)
"""its standard deviation between batches of 12, nats"""
NORM_AT, NORM = (1, 8, 16, 50, 120, 400), (1.98, 1.96, 1.45, 1.18, 0.99, 1.22)
"""the median gradient norm"""
NORM_NOISE_AT, NORM_NOISE = (1, 50, 75, 100), (0.05, 0.05, 0.12, 0.13)
"""the standard deviation of its logarithm, whose largest values are those of Student's t with 6 degrees of freedom"""
EVAL_EVERY = 100

Curve = NDArray[np.float64]
STEP = np.arange(1, STEPS + 1)


@dataclass
class Run:
    """A run's losses and norms, one value a step, before noise."""

    loss: Curve = field(default_factory=lambda: np.interp(STEP, AT, LOSS))
    norm: Curve = field(default_factory=lambda: np.interp(STEP, NORM_AT, NORM))

    def rows(self, seed: int) -> Iterator[dict[str, float]]:
        """Noisy rows, with an evaluation now and then."""
        noise = np.random.default_rng(seed)
        losses = self.loss + np.interp(STEP, NOISE_AT, NOISE) * noise.standard_t(12, STEPS) * math.sqrt(10 / 12)
        norms = self.norm * np.exp(
            np.interp(STEP, NORM_NOISE_AT, NORM_NOISE) * noise.standard_t(6, STEPS) * math.sqrt(4 / 6)
        )
        vals = self.loss + 0.05 + 0.003 * noise.standard_normal(STEPS)
        for step, loss, norm, val in zip(STEP.tolist(), losses.tolist(), norms.tolist(), vals.tolist(), strict=True):
            yield {"step": step, "train/loss": loss, "grad/norm": norm} | (
                {"val/loss": val} if step % EVAL_EVERY == 0 else {}
            )


def fading(at: int, steps: float) -> Curve:
    """1 at a step, then fading."""
    since = STEP - at
    return np.where(since >= 0, np.exp(-np.maximum(since, 0) / steps), 0.0)


def between(start: int, end: int, shape: Callable[[Curve], Curve]) -> Curve:
    """A shape over the steps from start to end, of how many have passed; 0 elsewhere."""
    return np.where((start <= STEP) & (end > STEP), shape(STEP - start), 0.0)


def plus(nats: Curve) -> Run:
    """A healthy run with so much added to its losses."""
    return Run(Run().loss + nats)


def times(factor: Curve) -> Run:
    """A healthy run with its gradient norms multiplied."""
    return Run(norm=Run().norm * factor)


def with_losses(loss: Curve) -> Run:
    """A run with losses of its own."""
    return Run(loss)


@dataclass(frozen=True)
class Planted:
    """A curve and the event, or the outcome, that it must bring."""

    run: Run
    event: str = ""
    at: int = 1
    """step before which no event is a right one"""
    also: frozenset[str] = frozenset()
    """other events that are right"""


@dataclass(frozen=True)
class Outcome:
    """What was made of a curve, over its noisy runs."""

    missed: int
    """runs without the event"""
    delays: list[int]
    """steps from where it was planted to the event, of the others"""
    false: int
    """runs with an event of another kind, or before anything was planted"""

    def cells(self, planted: Planted) -> list[str]:
        """Of a row of the table."""
        if not planted.event:
            return ["none", "", "", f"{self.false}"]
        after = f"{median(self.delays):.0f}" if self.delays else ""
        return [f"`{planted.event}`", f"{self.missed}", after, f"{self.false}"]


def descent_from(step: int) -> Curve:
    """The unigram loss up to a step, then a descent."""
    learned = np.maximum(STEP - step, 0)
    return np.where(step > STEP, np.maximum(Run().loss, UNIGRAM), UNIGRAM - 1.2 * (1 - np.exp(-learned / 60)))


def rise(nats: float) -> Curve:
    """What turns the second half of a healthy run into a rise by so much."""
    start = STEPS // 2
    flat = np.maximum(Run().loss[start] - Run().loss, 0)
    return flat + np.interp(STEP, (start, STEPS), (0, nats))


def sine(period: float) -> Curve:
    """A swing of half a nat from bottom to top."""
    return between(400, 1000, lambda since: 0.25 * np.sin(2 * np.pi * since / period))


PLANTED: dict[str, Planted] = {
    **{
        f"loss: 2 nats more at step {at:,}": Planted(plus(2 * fading(at, 3)), "spike", at)
        for at in (5, 20, 60, 120, 1000)
    },
    **{
        f"gradient norm: 15 times as large at step {at:,}": Planted(
            times(1 + 14 * fading(at, 1)), "grad_norm_spike", at
        )
        for at in (5, 20, 120, 1000)
    },
    **{
        f"loss: rises by {nats:g} nats in the second half": Planted(
            plus(rise(nats)), "drift", STEPS // 2, frozenset({"regressed"})
        )
        for nats in (0.1, 0.3, 0.7, 1.4)
    },
    "loss: hump of 1 nat over 200 steps": Planted(
        plus(between(500, 700, lambda since: np.sin(np.pi * since / 200))), "drift", 500
    ),
    **{
        f"loss: up and down by 0.5 nats every {period} steps": Planted(plus(sine(period)), "oscillation", 400)
        for period in (2.5, 10, 30)
    },
    "loss: NaN at step 1": Planted(with_losses(np.where(STEP == 1, np.nan, Run().loss)), "nonfinite"),
    "loss: stays at the unigram loss": Planted(with_losses(np.maximum(Run().loss, UNIGRAM)), "learned nothing"),
    "loss: falls back to the unigram loss at step 400": Planted(
        with_losses(np.where(STEP < 400, Run().loss, UNIGRAM)), "regressed", 400, frozenset({"spike", "drift"})
    ),
    "loss: falls back by 1.1 nats at step 800": Planted(
        plus(np.interp(STEP, (800, 850), (0, 1.1))), "regressed", 800, frozenset({"drift"})
    ),
    "loss: stays at 2.5 nats": Planted(with_losses(np.maximum(Run().loss, 2.5))),
    "loss: learns nothing until step 700": Planted(with_losses(descent_from(700))),
}
HEALTHY = Planted(Run())


def events(run: Run, seed: int) -> list[tuple[str, int]]:
    """Kinds and steps of what the detector finds in a noisy run, and of its end if that is no good one."""
    detector = EventDetector(context=64)
    found: list[tuple[str, int]] = []
    rows = list(run.rows(seed))
    for row in rows:
        found += [(event["kind"], event["step"]) for event in detector.observe(row)]
        if detector.why:
            return found
    steps, val = zip(*((row["step"], row["val/loss"]) for row in rows if "val/loss" in row), strict=True)
    train = np.array([row["train/loss"] for row in rows])
    outcome = ending(np.array(steps), np.array(val), train, BASELINES).outcome
    return found if outcome == "done" else [*found, (outcome, STEPS)]


def outcome(planted: Planted, seeds: range) -> Outcome:
    """What the detector makes of a curve."""
    missed, delays, false = 0, [], 0
    for seed in seeds:
        found = events(planted.run, seed)
        right = [step for kind, step in found if kind == planted.event and step >= planted.at]
        missed += bool(planted.event) and not right
        delays += [step - planted.at for step in right[:1]]
        false += any(kind not in {planted.event, *planted.also} or step < planted.at for kind, step in found)
    return Outcome(missed, delays, false)
