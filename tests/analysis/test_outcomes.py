"""Claims about how runs end: one that overfits or is only short has not failed; NaN is not the only failure."""

import numpy as np
import pytest

from gpt.analysis.outcomes import FEWEST_STEPS, Baselines, Ending, ending

PLAYS = Baselines(unigram=3.35, bigram=2.47, unigram_train=3.31)
"""about those of Tiny Shakespeare"""
ENOUGH = 3.35 - 0.088


def ended(train: list[float], val: dict[int, float], baselines: Baselines = PLAYS) -> Ending:
    return ending(np.array([*val]), np.array([*val.values()]), np.array(train), baselines)


def falling(steps: int, end: float = 1.9, seed: int = 0) -> list[float]:
    noise = np.random.default_rng(seed).normal(0, 0.06, steps)
    return list(end + 2.2 * np.exp(-np.arange(steps) / 60) + noise)


def test_a_run_that_learned_is_done() -> None:
    assert ended(falling(300), {0: 4.2, 150: 2.3, 300: 1.95}) == Ending("done")


def test_a_run_that_sits_at_the_unigram_loss_has_learned_nothing() -> None:
    found = ended([3.32] * 300, {0: 4.2, 150: 3.36, 300: 3.352})
    assert found.outcome == "learned nothing"
    assert found.why == (
        "learned nothing: its last validation loss 3.352 is not 0.088 below the unigram loss 3.350, a tenth of what "
        "bigrams gain"
    )


@pytest.mark.parametrize(("last", "outcome"), [(ENOUGH + 0.001, "learned nothing"), (ENOUGH - 0.001, "done")])
def test_a_tenth_of_what_bigrams_gain_is_enough(last: float, outcome: str) -> None:
    assert ended([3.3] * 300, {0: 4.2, 300: last}).outcome == outcome


def test_a_text_whose_bigrams_tell_little_asks_for_little() -> None:
    """Four letters: a model that knows all there is to know ends less than 0.05 nats below the unigram loss."""
    letters = Baselines(unigram=1.3864, bigram=1.3728, unigram_train=1.3863)
    noise = np.random.default_rng(0).normal(0, 0.01, 300)
    assert ended(list(1.3730 + noise), {0: 1.5, 300: 1.3729}, letters).outcome == "done"
    assert ended(list(1.3863 + noise), {0: 1.5, 300: 1.3862}, letters).outcome == "learned nothing"


def test_of_a_text_without_any_order_nothing_can_be_told() -> None:
    dice = Baselines(unigram=1.79, bigram=1.80, unigram_train=1.79)
    assert ended([1.79] * 300, {0: 2.0, 300: 1.79}, dice) == Ending("done")


@pytest.mark.parametrize("steps", [1, 5, 20, FEWEST_STEPS - 1])
def test_a_short_run_is_no_failure(steps: int) -> None:
    found = ended([4.0] * steps, {0: 4.2, steps: 4.0})
    assert found.outcome == "too short to tell"
    assert f"after {steps} steps" in found.why


def test_a_run_that_is_still_falling_is_only_slow() -> None:
    assert ended(list(np.linspace(4.2, 3.5, 400)), {0: 4.2, 400: 3.5}).outcome == "too short to tell"
    assert ended(list(np.linspace(3.5, 3.4, 400)), {0: 4.2, 400: 3.4}).outcome == "learned nothing"


def test_a_run_that_overfits_has_neither_regressed_nor_learned_nothing() -> None:
    for last in (2.9, 3.6):
        assert ended(falling(600, end=0.5), {0: 4.2, 200: 2.1, 600: last}) == Ending("done")


@pytest.mark.parametrize(("rise", "outcome"), [(0.2, "regressed"), (0.05, "done")])
def test_a_run_that_ends_clearly_above_its_best_has_regressed_if_its_training_loss_rose_too(
    rise: float, outcome: str
) -> None:
    """It had learned 1.45 nats, of which a tenth is 0.145."""
    train = [*falling(300), *(loss + rise for loss in falling(300, seed=1)[-200:] + [1.9] * 100)]
    found = ended(train, {0: 4.2, 300: 1.9, 600: 1.9 + rise})
    assert found.outcome == outcome


def test_a_run_that_falls_back_to_the_unigram_loss_has_regressed_even_if_it_had_learned_little() -> None:
    train = [*[3.31] * 50, *[3.15] * 50, *[3.31] * 200]
    found = ended(train, {0: 4.2, 100: 3.211, 300: 3.349})
    assert found.outcome == "regressed"
    assert "from step 100 its validation loss rose from 3.211 to 3.349" in found.why


def test_a_run_that_fell_back_and_recovered_is_done() -> None:
    train = [*falling(100), *[3.35] * 50, *falling(150)]
    assert ended(train, {0: 4.2, 90: 2.4, 140: 3.35, 300: 2.2}) == Ending("done")


def test_noise_between_batches_is_no_regression() -> None:
    """Both texts of so few characters that losses vary as much as there is to learn."""
    letters = Baselines(unigram=1.3864, bigram=1.3728, unigram_train=1.3863)
    for seed in range(50):
        noise = np.random.default_rng(seed).normal(0, 0.02, 400)
        assert ended(list(1.3730 + noise), {0: 1.5, 200: 1.3728, 400: 1.3746}, letters).outcome == "done"


def test_a_run_that_never_got_below_where_it_began_has_not_regressed() -> None:
    assert ended([6.0] * 300, {0: 4.2, 150: 6.0, 300: 6.1}).outcome == "learned nothing"
