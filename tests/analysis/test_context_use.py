import math

import numpy as np
import pytest

from gpt.analysis.context_use import cumulative_share, loss_added_beyond, loss_added_by_cut, median_lookback


@pytest.mark.parametrize(
    ("dependency", "length"),
    [([1, 1, 1, 1], 2), ([5, 1, 1, 1], 1), ([0, 0, 0, 1], 4), ([1, 1, 1], 2), ([2, 1, 1], 1)],
)
def test_the_half_length_is_the_fewest_characters_that_hold_half_of_the_gradient(dependency, length):
    curve = np.array(dependency, dtype=np.float64)
    assert median_lookback(curve) == length
    naive = min(k for k in range(1, len(curve) + 1) if sum(dependency[:k]) >= sum(dependency) / 2)
    assert median_lookback(curve) == naive
    assert cumulative_share(curve)[length - 1] >= 0.5
    assert cumulative_share(curve)[-1] == 1


def test_without_a_gradient_there_is_no_half_length():
    assert math.isnan(median_lookback(np.zeros(4)))
    assert math.isnan(median_lookback(np.array([1.0, np.nan])))
    assert np.isnan(cumulative_share(np.zeros(4))).all()


def arrays(context, positions):
    lengths = [2**k for k in range(context.bit_length())]
    return {
        "dependency": np.ones(context),
        "context_lengths": np.array(lengths),
        "context_loss": 2 + 1 / np.array(lengths),
        "loss_by_position": np.arange(positions, dtype=np.float64),
    }


def test_a_cut_context_is_compared_with_the_whole_one():
    assert loss_added_by_cut(arrays(32, 64), 8) == pytest.approx(1 / 8 - 1 / 32)
    assert math.isnan(loss_added_by_cut(arrays(8, 16), 8))
    assert math.isnan(loss_added_by_cut(arrays(4, 8), 8))


def test_loss_beyond_the_context_is_compared_with_its_later_half():
    assert loss_added_beyond(arrays(4, 8)) == pytest.approx((4 + 5 + 6 + 7) / 4 - (2 + 3) / 2)
    assert math.isnan(loss_added_beyond(arrays(4, 4)))
