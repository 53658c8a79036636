"""Claims about events: a rule that only knows NaN and spikes would miss a run that never learns."""

import math

import numpy as np
import pytest

from gpt.probes.stability import SPIKE_HISTORY, STUCK_MARGIN, Stability

UNIGRAM = 3.347


def rows(losses: list[float], final_val: float | None = None) -> list[dict[str, float]]:
    made = [{"step": i + 1, "train/loss": loss, "grad/norm": 1.0} for i, loss in enumerate(losses)]
    if final_val is not None:
        made[-1]["val/loss"] = final_val
    return made


def events(made: list[dict[str, float]], steps: int | None = None) -> tuple[list[tuple[str, int]], str]:
    stability = Stability(UNIGRAM, steps or len(made))
    found = [event for row in made for event in stability.observe(row)]
    return [(event["kind"], event["step"]) for event in found], stability.why


def falling(count: int = 300, seed: int = 0) -> list[float]:
    noise = np.random.default_rng(seed).normal(0, 0.06, count)
    return list(1.9 + 2.2 * np.exp(-np.arange(count) / 60) + noise)


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


def test_nothing_is_a_spike_before_there_is_a_history() -> None:
    losses = falling()
    losses[SPIKE_HISTORY - 1] = 9.0
    assert events(rows(losses, 1.9))[0] == []


@pytest.mark.parametrize("key", ["train/loss", "grad/norm", "val/loss"])
@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_number_that_is_not_finite_makes_a_run_diverged(key: str, value: float | None) -> None:
    made = rows(falling(50))
    made[29][key] = value  # type: ignore[assignment]  # None is how JSON gives back what was not finite
    stability = Stability(UNIGRAM, 50)
    found = [event for row in made[:30] for event in stability.observe(row)]
    assert [(e["kind"], e["step"], e["key"]) for e in found] == [("nonfinite", 30, key)]
    assert stability.why == f"{key} not finite at step 30"


def test_a_run_that_sits_at_the_unigram_loss_is_stuck() -> None:
    made = rows([UNIGRAM + 0.01] * 300, UNIGRAM + 0.002)
    found, why = events(made)
    assert found == [("stuck", 300)]
    assert "unigram" in why


def test_a_run_just_below_the_margin_is_not_stuck() -> None:
    assert events(rows(falling(), UNIGRAM - STUCK_MARGIN - 0.001)) == ([], "")


def test_a_run_that_learned_and_then_overfitted_is_not_stuck() -> None:
    made = rows(falling(), UNIGRAM + 0.4)
    made[150]["val/loss"] = 2.5
    assert events(made) == ([], "")


def test_a_run_that_ends_within_the_margin_is_stuck_and_told_so() -> None:
    found, why = events(rows([UNIGRAM] * 100, UNIGRAM - STUCK_MARGIN / 2))
    assert found == [("stuck", 100)]
    assert f"is not {STUCK_MARGIN:g} below the unigram loss" in why


def test_stuck_is_judged_at_the_end_alone() -> None:
    made = rows([UNIGRAM] * 100, UNIGRAM)
    assert events(made, steps=200) == ([], "")
