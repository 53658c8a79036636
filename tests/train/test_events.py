"""Claims about events: what is unusual in a run is named, and nothing else."""

import math

import numpy as np
import pytest

from gpt.probes.attention import even_entropy
from gpt.train.events import (
    COLLAPSED_SHARE,
    EARLY_SPIKE_NATS,
    GRAD_NORM_FACTOR,
    EventDetector,
    loss_spike,
)

CONTEXT = 64


def rows(losses: list[float], final_val: float | None = None) -> list[dict[str, float]]:
    made = [{"step": i + 1, "train/loss": loss, "grad/norm": 1.0} for i, loss in enumerate(losses)]
    if final_val is not None:
        made[-1]["val/loss"] = final_val
    return made


def events(made: list[dict[str, float]]) -> tuple[list[tuple[str, int]], str]:
    stability = EventDetector(CONTEXT)
    found = [event for row in made for event in stability.observe(row)]
    return [(event["kind"], event["step"]) for event in found], stability.why


def falling(count: int = 300, seed: int = 0) -> list[float]:
    dropout_key = np.random.default_rng(seed).normal(0, 0.06, count)
    return list(1.9 + 2.2 * np.exp(-np.arange(count) / 60) + dropout_key)


@pytest.mark.parametrize("seed", range(20))
def test_an_ordinary_noisy_run_has_no_events(seed: int) -> None:
    assert events(rows(falling(seed=seed), 1.9)) == ([], "")


def test_one_jump_is_one_spike_at_its_step() -> None:
    losses = falling()
    losses[200:210] = [5.0] * 10
    assert events(rows(losses, 1.9)) == ([("spike", 201)], "")


def test_two_separate_jumps_are_two_spikes() -> None:
    losses = falling()
    losses[150], losses[250] = 5.0, 5.0
    assert events(rows(losses, 1.9))[0] == [("spike", 151), ("spike", 251)]


@pytest.mark.parametrize("at", [1, 2, 4, 24])
def test_a_jump_among_the_first_losses_is_a_spike_if_it_is_large(at: int) -> None:
    losses = falling()
    for height, found in ((1.5, [("spike", at + 1)]), (0.5, [])):
        planted = [*losses[:at], losses[at - 1] + height * EARLY_SPIKE_NATS, *losses[at + 1 :]]
        assert events(rows(planted, 1.9))[0] == found


@pytest.mark.parametrize(("factor", "found"), [(1.5 * GRAD_NORM_FACTOR, [("grad_norm_spike", 101)]), (3.0, [])])
def test_a_gradient_norm_far_above_its_trend_is_a_spike_of_its_own(factor: float, found: list[tuple[str, int]]) -> None:
    made = rows(falling(), 1.9)
    made[100]["grad/norm"] *= factor
    assert events(made) == (found, "")


def test_a_gradient_of_zero_is_no_event() -> None:
    made = rows(falling(), 1.9)
    made[100]["grad/norm"] = 0.0
    assert events(made) == ([], "")


def test_a_resumed_run_finds_the_events_of_an_undisturbed_one() -> None:
    """An attempt reads the rows before its own again, and nothing else."""
    losses = falling(500)
    losses[20], losses[150] = 9.0, 9.0
    losses[250:] = [loss + 0.5 for loss in losses[250:]]
    losses[370:] = [loss + 0.5 * (-1) ** i for i, loss in enumerate(losses[370:])]
    made = rows(losses, 2.9)
    whole = EventDetector(CONTEXT)
    found = [whole.observe(row) for row in made]
    assert {event["kind"] for each in found for event in each} >= {"spike", "drift", "oscillation"}
    for start in (10, 21, 140, 280, 330, 499):
        resumed = EventDetector(CONTEXT)
        assert [resumed.observe(row) for row in made][start:] == found[start:]


def smallest_spike(losses: list[float]) -> float:
    detector = EventDetector(CONTEXT)
    for row in rows(losses):
        detector.observe(row)
    return detector.smallest_spike


def test_the_smallest_visible_spike_is_seen_and_a_smaller_one_is_not() -> None:
    """Of constant spread, so that the median over steps holds at each of them."""
    losses = [1.8 + 0.06 * (-1) ** (i // 2) for i in range(400)]
    least = smallest_spike(losses)
    assert least == pytest.approx(loss_spike().DEVIATIONS * 1.4826 * 0.06, rel=0.5)
    trend = float(np.median(losses[291:300]))
    for height, found in ((1.05, [("spike", 301)]), (0.95, [])):
        planted = [*losses[:300], trend + height * least, *losses[301:]]
        assert [event for event in events(rows(planted, 1.9))[0] if event[0] == "spike"] == found


def test_no_losses_have_no_smallest_visible_spike() -> None:
    assert math.isnan(smallest_spike([]))


@pytest.mark.parametrize("key", ["train/loss", "grad/norm", "val/loss", "test/loss"])
@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_number_that_is_not_finite_ends_a_run(key: str, value: float | None) -> None:
    made = rows(falling(50))
    made[29][key] = value  # type: ignore[assignment]  # None is how JSON gives back what was not finite
    stability = EventDetector(CONTEXT)
    found = [event for row in made[:30] for event in stability.observe(row)]
    assert [(e["kind"], e["step"], e["key"]) for e in found] == [("nonfinite", 30, key)]
    assert stability.why == f"{key} not finite at step 30"


@pytest.mark.parametrize("seed", range(100))
def test_a_planted_jump_is_found_and_one_just_below_the_rule_is_not(seed: int) -> None:
    """200 planted curves: no miss above the rule's own bound, no false alarm below it."""
    generator = np.random.default_rng(1000 + seed)
    losses, at = falling(seed=seed), int(generator.integers(1, 299))
    rule = loss_spike()
    for loss in losses[:at]:
        rule.observe(loss)
    trend = float(np.median(losses[max(0, at - rule.TREND) : at]))
    for height, found in ((1.05, [("spike", at + 1)]), (0.95, [])):
        planted = [*losses[:at], trend + height * rule.bound(), *losses[at + 1 :]]
        assert events(rows(planted, 1.9)) == (found, "")


@pytest.mark.parametrize("seed", range(20))
def test_a_stationary_run_raises_no_alarm(seed: int) -> None:
    """Noise as large as that of a batch of 12 windows, a mean over 768 characters."""
    dropout_key = np.random.default_rng(seed).normal(0, 0.06, 2000)
    assert events(rows(list(1.8 + dropout_key), 1.8)) == ([], "")


def test_heavy_tails_raise_less_than_one_false_alarm_in_four_thousand_steps() -> None:
    """Student's t with 6 degrees of freedom, far heavier than a mean over a batch."""
    noises = [np.random.default_rng(seed).standard_t(6, 2000) * 0.06 for seed in range(20)]
    assert sum(len(events(rows(list(1.8 + dropout_key), 1.8))[0]) for dropout_key in noises) <= 10


@pytest.mark.parametrize("seed", range(20))
def test_a_slow_rise_is_a_drift_and_no_spike_and_an_overfitting_one_too(seed: int) -> None:
    losses = np.linspace(1.8, 2.6, 1000) + np.random.default_rng(seed).normal(0, 0.06, 1000)
    found, why = events(rows(list(losses), 2.6))
    assert ([kind for kind, _ in found], why) == (["drift"], "")


def collapses(entropies: list[list[float]], before: list[dict[str, object]] | None = None) -> list[tuple[int, int]]:
    stability = EventDetector(CONTEXT, before or [])
    found = [event for i, entropy in enumerate(entropies) for event in stability.on_attention_entropy(100 * i, entropy)]
    assert all(event["kind"] == "entropy_collapse" and event["entropy"] < event["at_most"] for event in found)
    return [(event["step"], event["layer"]) for event in found]


def test_a_collapsed_layer_is_one_event_at_its_first_probed_step() -> None:
    even = even_entropy(CONTEXT)
    healthy, collapsed = [0.5 * even] * 3, [0.5 * even, 0.9 * COLLAPSED_SHARE * even, 0.4 * even]
    assert collapses([healthy, healthy, collapsed, healthy, collapsed]) == [(200, 1)]


def test_sharp_but_living_attention_is_no_collapse() -> None:
    """Half of a layer's heads look at one character alone, the others at a quarter of what is even."""
    even = even_entropy(CONTEXT)
    assert collapses([[0.5 * 0.25 * even, 1.01 * COLLAPSED_SHARE * even, even]]) == []


def test_a_resumed_run_does_not_tell_a_collapse_twice() -> None:
    assert collapses([[0.0]], before=[{"step": 50, "kind": "entropy_collapse"}]) == []
    assert collapses([[0.0]], before=[{"step": 50, "kind": "spike"}]) == [(0, 0)]


def test_entropies_that_are_not_finite_are_no_collapse() -> None:
    assert collapses([[math.nan, math.nan]]) == []
