"""Claims about the sign-flip test, against scipy, hand enumeration, published numbers and simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gpt.analysis.statistics.paired import paired_contrast
from gpt.analysis.statistics.sign_flips import DRAWS, sign_flip_p, smallest_p

unhurried = settings(deadline=None, max_examples=50)  # a busy machine is no failure


def enumerated_sign_flip_p(differences: list[int]) -> float:
    """The definition, over every assignment of signs; exact for whole numbers."""
    observed = abs(sum(differences))
    flips = list(itertools.product([1, -1], repeat=len(differences)))
    extreme = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= observed for signs in flips]
    return sum(extreme) / len(flips)


def test_sign_flip_p_is_scipys_permutation_test():
    rng = np.random.default_rng(2)
    for n in (3, 6, 10):
        a, b = rng.normal(size=(2, n))
        expected = stats.permutation_test(
            (b, a), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
        )
        assert paired_contrast(a, b, None).p_sign_flip == pytest.approx(expected.pvalue)


@unhurried
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9))
def test_sign_flip_p_is_the_share_of_all_sign_assignments(differences):
    assert sign_flip_p(differences) == enumerated_sign_flip_p(differences)


@unhurried
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9))
def test_rounding_of_decimal_values_does_not_break_ties(differences):
    a = [4.1 + 0.3 * i for i in range(len(differences))]
    b = [x + d / 1_000_000 for x, d in zip(a, differences, strict=True)]
    assert paired_contrast(a, b, None).p_sign_flip == enumerated_sign_flip_p(differences)


@unhurried
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9))
def test_rounding_of_sums_does_not_break_ties(differences):
    assert sign_flip_p([d / 10 for d in differences]) == enumerated_sign_flip_p(differences)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [([1.0] * 4 + [0.0] * 6, 0.125), ([0.0] * 10, 1.0), ([1.0] * 7, 2**-6), ([0.5, 0.0], 1.0), ([1.0] * 25, 1e-5)],
)
def test_ties_raise_the_smallest_p_to_what_the_others_can_reach(differences, expected):
    shifted = paired_contrast([0.1] * len(differences), [0.1 + d for d in differences], None)
    assert shifted.smallest_p == pytest.approx(expected)
    assert shifted.p_sign_flip == pytest.approx(expected)  # all that differ agree in sign


@pytest.mark.parametrize(("n", "published"), [(5, 0.0625), (6, 0.031), (7, 0.016), (8, 0.0078)])
def test_smallest_p_is_reached_when_all_differences_agree_in_sign(n, published):
    contrast = paired_contrast(np.zeros(n), np.arange(1.0, n + 1), None)
    assert contrast.p_sign_flip == contrast.smallest_p == smallest_p(n)
    assert contrast.smallest_p == pytest.approx(published, abs=5e-4)


def test_three_corrected_contrasts_can_be_significant_from_seven_pairs_on():
    assert 3 * smallest_p(6) > 0.05 >= 3 * smallest_p(7)


def test_twenty_pairs_are_enumerated_and_more_are_drawn():
    d = np.random.default_rng(3).normal(0.3, 1.0, 21)
    exact, drawn = paired_contrast(np.zeros(20), d[:20], None), paired_contrast(np.zeros(21), d, None)
    assert exact.sign_flip_exact
    assert not drawn.sign_flip_exact
    assert (exact.p_sign_flip * 2**19).is_integer()
    assert (drawn.p_sign_flip * (DRAWS + 1)) == pytest.approx(round(drawn.p_sign_flip * (DRAWS + 1)))


def test_drawn_sign_flips_approach_the_enumerated_p():
    whole = np.random.default_rng(4).integers(-50, 70, 24)
    ways = np.array([1])  # ways[k] of reaching the sum k - total, by convolution
    for d in np.abs(whole):
        ways = np.convolve(ways, np.bincount([0, 2 * d]) if d else [2])
    sums = np.arange(len(ways)) - np.abs(whole).sum()
    exact = ways[np.abs(sums) >= abs(whole.sum())].sum() / 2**24
    assert 0.01 < exact < 0.99
    assert abs(sign_flip_p(whole) - exact) < 4 * math.sqrt(exact * (1 - exact) / DRAWS)


def test_drawn_sign_flips_repeat_and_never_give_zero():
    d = np.arange(1.0, 41.0)
    assert sign_flip_p(d) == sign_flip_p(d) == smallest_p(40) == 1 / (DRAWS + 1)


def test_sign_flip_test_rejects_a_true_null_at_most_as_often_as_it_says():
    draws = 3000
    rng = np.random.default_rng(5)
    heavy = rng.standard_t(2, (draws, 8)) * rng.uniform(0.1, 10, 8)  # symmetric, but neither normal nor alike
    p = np.array([sign_flip_p(d) for d in heavy])
    for alpha in (0.01, 0.05, 0.2):
        assert (p <= alpha).mean() < alpha + 4 * math.sqrt(alpha * (1 - alpha) / draws)
    assert (p <= 0.05).mean() > 0.03
