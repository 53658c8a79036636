import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt.config import OptimConfig
from gpt.train.optim.schedule import learning_rate


def optim(warmup: int, lr: float = 1e-3, ratio: float = 0.1) -> OptimConfig:
    return OptimConfig(lr=lr, final_lr_ratio=ratio, warmup_steps=warmup)


runs = st.tuples(st.integers(0, 300), st.integers(2, 700), st.floats(1e-6, 1.0), st.floats(0.0, 1.0))


@given(runs)
def test_rates_equal_the_naive_formula(run: tuple[int, int, float, float]) -> None:
    warmup, after, lr, ratio = run
    steps, settings = warmup + after, optim(warmup, lr, ratio)
    for step in range(1, steps + 1):
        if step <= warmup:
            expected = lr * step / (warmup + 1)
        else:
            decay_steps, decayed = after - 1, step - warmup - 1
            lowest = lr * ratio
            expected = lowest + (lr - lowest) * (1 + math.cos(math.pi * decayed / decay_steps)) / 2
        assert learning_rate(step, steps, settings) == pytest.approx(expected, rel=1e-12, abs=1e-12 * lr)


@given(runs)
def test_rates_rise_to_the_peak_and_fall_to_their_last_value_exactly(run: tuple[int, int, float, float]) -> None:
    warmup, after, lr, ratio = run
    steps, settings = warmup + after, optim(warmup, lr, ratio)
    rates = [learning_rate(step, steps, settings) for step in range(1, steps + 1)]
    assert rates[warmup] == pytest.approx(lr, rel=1e-15)
    assert rates[-1] == lr * ratio
    rising, falling = rates[: warmup + 1], rates[warmup:]
    assert rising == sorted(set(rising))
    assert falling == sorted(falling, reverse=True)
    assert rates[0] == pytest.approx(lr / (warmup + 1))
    assert max(rates) == rates[warmup]


def test_known_rates() -> None:
    rates = [learning_rate(step, 2000, optim(100)) for step in (1, 50, 100, 101, 1051, 2000)]
    middle = 1e-4 + 0.5 * 9e-4 * (1 + math.cos(math.pi * 950 / 1899))
    assert rates == pytest.approx([1e-3 / 101, 50e-3 / 101, 100e-3 / 101, 1e-3, middle, 1e-4])


def test_a_single_step_after_warmup_takes_the_peak_rate() -> None:
    assert learning_rate(1, 1, optim(0)) == 1e-3
    assert learning_rate(5, 5, optim(4)) == 1e-3


def test_a_rate_depends_on_its_step_alone() -> None:
    forward = [learning_rate(step, 50, optim(5)) for step in range(1, 51)]
    backward = [learning_rate(step, 50, optim(5)) for step in range(50, 0, -1)]
    assert forward == backward[::-1]


@pytest.mark.parametrize("step", [0, 51])
def test_a_step_outside_the_run_is_refused(step: int) -> None:
    with pytest.raises(AssertionError):
        learning_rate(step, 50, optim(5))
