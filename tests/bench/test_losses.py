"""Two seeds of one recipe agree; another recipe does not."""

import math

import numpy as np
import pytest

from gpt.bench.losses import TOLERANCE, compare_losses


def curve(seed: int, last: float) -> list[float]:
    """A loss that falls from 4.2 to `last`, with the noise of small batches."""
    noise = np.random.RandomState(seed).normal(0, 0.05, 200)
    return (4.2 + (last - 4.2) * np.linspace(0, 1, 200) + noise).tolist()


def test_two_seeds_of_one_recipe_agree() -> None:
    found = compare_losses(curve(0, 2.5), curve(1, 2.52))
    assert found.agree
    assert "agree" in str(found)
    assert TOLERANCE < found.allowed < 2 * TOLERANCE, "the common descent is no noise"


@pytest.mark.parametrize("theirs", [2.8, 2.2, math.nan])
def test_a_curve_that_ends_elsewhere_differs(theirs: float) -> None:
    found = compare_losses(curve(0, 2.5), curve(1, theirs))
    assert not found.agree
    assert "DIFFER" in str(found)


def test_averages_are_of_the_last_quarter() -> None:
    found = compare_losses([9.0] * 15 + [1.0, 2.0, 3.0, 4.0, 5.0], [9.0] * 15 + [2.0] * 5)
    assert (found.steps, found.ours, found.theirs) == (20, 3.0, 2.0)
