"""Claims about intervals that agree with the sign-flip test, against the test itself at every difference."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt.analysis.statistics.means import Interval
from gpt.analysis.statistics.sign_flips import sign_flip_p, smallest_p
from gpt.analysis.statistics.simultaneous import sign_flip_interval
from gpt.analysis.statistics.verdict import holm
from gpt.errors import InputError

unhurried = settings(deadline=None, max_examples=100)  # a busy machine is no failure
LEVELS = st.sampled_from([0.5, 0.1, 0.05, 0.05 / 3, 0.05 / 6])


@unhurried
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9), LEVELS)
def test_the_interval_holds_every_difference_that_the_test_does_not_reject(differences, level):
    low, high = (getattr(sign_flip_interval(differences, level), end) for end in ("low", "high"))
    tried = {sum(some) / len(some) for k in range(1, 10) for some in itertools.combinations(differences, k)}
    for d in [*tried, *(x + 0.001 for x in tried), *(x - 0.001 for x in tried)]:
        p = sign_flip_p(np.array(differences) - d, rounding=1e-13)
        assert (low - 1e-9 <= d <= high + 1e-9) == (p > level), (d, p, low, high)


@unhurried
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=12), LEVELS)
def test_it_leaves_out_0_exactly_where_p_is_at_most_the_level(differences, level):
    found = sign_flip_interval([d / 10 for d in differences], level, rounding=1e-15)
    assert (found.low <= 0 <= found.high) == (sign_flip_p([d / 10 for d in differences], 1e-15) > level)


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.6])
def test_with_drawn_flips_it_leaves_out_0_exactly_where_p_is_at_most_the_level(shift):
    rng = np.random.default_rng(3)
    values = rng.normal(shift, 1.0, 24)
    p = sign_flip_p(values)
    for level in (p * 0.9, p, p * 1.1):
        found = sign_flip_interval(values, level)
        assert (found.low <= 0 <= found.high) == (p > level)


@unhurried
@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_over_a_family_it_is_bonferronis_decision_and_never_contradicts_holms(contrasts, seed):
    rng = np.random.default_rng(seed)
    differences = rng.normal(rng.choice([0.0, 1.0, 2.0], contrasts)[:, None], 1.0, (contrasts, 9))
    p = [sign_flip_p(each) for each in differences]
    adjusted = holm(p)
    for each, own, corrected in zip(differences, p, adjusted, strict=True):
        found = sign_flip_interval(each, 0.05 / contrasts)
        without_0 = not found.low <= 0 <= found.high
        assert without_0 == (contrasts * own <= 0.05)
        assert corrected <= 0.05 or not without_0
        if contrasts == 1:
            assert without_0 == (corrected <= 0.05)


def test_intervals_cover_all_differences_of_a_family_together():
    rng, families, contrasts = np.random.default_rng(4), 500, 3
    covered = 0
    for _ in range(families):
        values = rng.normal(1.0, 1.0, (contrasts, 10))
        found = [sign_flip_interval(each, 0.05 / contrasts) for each in values]
        covered += all(each.low <= 1.0 <= each.high for each in found)
    assert covered / families > 0.95 - 3 * math.sqrt(0.05 * 0.95 / families)


def test_the_least_p_of_too_few_pairs_leaves_the_interval_without_ends():
    assert smallest_p(5) > 0.05
    assert sign_flip_interval([1.0, 1.1, 1.2, 1.3, 1.4], 0.05) == Interval(-math.inf, math.inf)
    assert sign_flip_interval([1.0, 1.1, 1.2, 1.3, 1.4, 1.5], 0.05) == Interval(1.0, 1.5)
    assert math.isnan(sign_flip_interval([], 0.05).low)


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0])
def test_a_level_is_a_probability(level):
    with pytest.raises(InputError, match="level: got"):
        sign_flip_interval([1.0, 2.0], level)
