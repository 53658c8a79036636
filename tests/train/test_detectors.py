"""Claims about the rules for curves, beside what tests/planted.py makes of them in noise."""

import time

import numpy as np
import pytest

from gpt.train.detectors import Drift, Jump, Oscillation, Swing, spread
from gpt.train.events import EventDetector


def test_the_spread_of_normal_values_is_their_standard_deviation() -> None:
    assert spread(np.random.default_rng(0).normal(3, 0.2, 100_000)) == pytest.approx(0.2, rel=0.02)


def test_a_steep_straight_descent_hides_no_jump() -> None:
    """Its distances from the trend are all alike, though the values differ by 5."""
    rule = Jump(0.25, 1.0)
    assert all(rule.observe(5 - 0.05 * i) is None for i in range(100))
    assert rule.observe(0.3 + 0.25) is not None


def test_a_jump_that_stays_is_told_once() -> None:
    rule = Jump(0.25, 1.0)
    assert sum(rule.observe(value) is not None for value in [1.0] * 50 + [3.0] * 50) == 1


def test_two_humps_are_two_drifts_and_a_shaking_one_is_one() -> None:
    rule = Drift(0.05)
    hump = [1.0] * 150 + [2.0] * 150
    assert sum(rule.observe(value) is not None for value in hump * 2) == 2
    rule = Drift(0.05)
    assert sum(rule.observe(1.0 + 0.06 * (i >= 150) - 0.02 * (i // 150 % 2)) is not None for i in range(2000)) == 1


@pytest.mark.parametrize("period", [2.0, 3.0, 8.0, 17.3, 32.0])
def test_an_oscillation_has_its_height_and_period(period: float) -> None:
    rule = Oscillation(0.25)
    found = [rule.observe(2 - 0.01 * i + 0.4 * np.cos(2 * np.pi * i / period)) for i in range(128)]
    assert found[:-1] == [None] * 127
    assert isinstance(found[-1], Swing)
    assert found[-1].period == pytest.approx(period, rel=0.07)
    assert found[-1].height == pytest.approx(0.8, rel=0.1 if period > 2 else 0.5)


def test_a_single_step_a_single_spike_and_a_descent_are_no_oscillation() -> None:
    at = np.arange(400)
    for curve in (1.0 * (at > 200), 2.0 * (at == 200), 2 * np.exp(-at / 20), 2 * np.exp(-at / 60)):
        rule = Oscillation(0.25)
        assert [found for value in curve if (found := rule.observe(float(value)))] == []


def test_watching_a_step_takes_less_than_a_fifth_of_a_millisecond() -> None:
    """Of processor time, the best of some tries, so that a busy machine cannot tell otherwise."""
    noise = np.random.default_rng(0).normal(0, 0.06, (2, 500)).tolist()
    rows = [{"step": i, "train/loss": 1.8 + a, "grad/norm": 1 + b} for i, (a, b) in enumerate(zip(*noise, strict=True))]

    def took() -> float:
        detector = EventDetector(64)
        began = time.process_time()
        for row in rows:
            detector.observe(row)
        return (time.process_time() - began) / len(rows)

    assert min(took() for _ in range(5)) < 0.2e-3
