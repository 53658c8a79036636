"""Quartiles and ratios are those of the samples; samples are taken in turns."""

import numpy as np
import pytest

from gpt.bench.spread import Effort, Spread, alternate, stopwatch


def test_quartiles_are_those_of_the_samples() -> None:
    spread = Spread.of([4.0, 1.0, 3.0, 2.0, 5.0])
    assert (spread.low, spread.median, spread.high) == (2.0, 3.0, 4.0)
    assert spread.samples == [4.0, 1.0, 3.0, 2.0, 5.0]


def test_a_ratio_is_taken_pair_by_pair_and_not_of_medians() -> None:
    """A machine that slows down threefold half-way changes no ratio."""
    slow_later = Spread.of([1.0, 1.0, 3.0, 3.0])
    twice = Spread.of([2.0, 2.0, 6.0, 6.0])
    assert twice.over(slow_later).samples == [2.0] * 4
    assert slow_later.over(twice, factor=4.0).median == 2.0


def test_ratios_of_different_numbers_of_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Spread.of([1.0, 2.0]).over(Spread.of([1.0]))


@pytest.mark.parametrize(("effort", "rounds"), [(Effort(4, 2, 1e9), 4), (Effort(4, 2, 0.0), 2)])
def test_arms_take_turns_until_enough_was_measured(effort: Effort, rounds: int) -> None:
    calls: list[str] = []

    def arm(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    first, second = alternate([lambda: arm("a"), lambda: arm("b")], effort)
    assert calls == ["a", "b"] * rounds
    assert first.samples == list(np.arange(1.0, 2 * rounds, 2))
    assert second.samples == list(np.arange(2.0, 2 * rounds + 1, 2))


def test_what_a_device_still_has_to_do_is_waited_for_before_and_after() -> None:
    order: list[str] = []
    assert stopwatch(lambda: order.append("work"), lambda: order.append("wait"))() >= 0
    assert order == ["wait", "work", "wait"]
