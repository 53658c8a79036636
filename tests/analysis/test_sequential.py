"""Claims about looks at an unfinished comparison, against scipy's multivariate normal and simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from gpt.analysis.statistics.sequential import LEVELS, bounds, sequential_p
from gpt.errors import InputError

LOOKS = [(5, 10, 20), (10, 20), (4, 8, 12, 16, 20), (6, 7, 40)]


def first_crossing(p_RK, limits):
    """Share of rows whose first look at or below its limit is each."""
    hit_RK = p_RK <= np.array(limits)
    first_RK = hit_RK & (np.cumsum(hit_RK, axis=1) == 1)
    return first_RK.mean(axis=0)


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6, 0.5])
def test_each_look_spends_its_share_of_the_error(looks, alpha, sides):
    draws = 50_000
    values = np.random.default_rng(1).normal(size=(draws, looks[-1])).cumsum(axis=1)
    z_RK = values[:, np.array(looks) - 1] / np.sqrt(looks)
    p_RK = stats.norm.sf(z_RK) if sides == 1 else 2 * stats.norm.sf(abs(z_RK))
    shares = np.diff([0.0, *(alpha * (n / looks[-1]) ** 3 for n in looks)])
    tolerance = 4 * np.sqrt(shares / draws)
    assert (np.abs(first_crossing(p_RK, bounds(looks, alpha, sides)) - shares) < tolerance).all()


@pytest.mark.parametrize("alpha", [0.01, 0.05])
@pytest.mark.parametrize("looks", [(5, 10, 20), (10, 20), (4, 8, 12, 20)])
def test_all_looks_together_spend_alpha_by_scipys_multivariate_normal(looks, alpha):
    z = stats.norm.isf(np.array(bounds(looks, alpha)) / 2)
    correlation = np.sqrt(np.minimum.outer(looks, looks) / np.maximum.outer(looks, looks))
    within = stats.multivariate_normal(cov=correlation, abseps=1e-7, releps=1e-7, seed=1).cdf(z, lower_limit=-z)
    assert 1 - within == pytest.approx(alpha, abs=1e-5)


def test_one_look_is_the_plain_test():
    assert bounds((10,), 0.03) == (0.03,)
    assert sequential_p([0.0123], (10,)) == 0.0123


@pytest.mark.parametrize("looks", LOOKS)
def test_bounds_rise_with_alpha_so_that_looks_have_a_p(looks):
    at = np.array([bounds(looks, float(level)) for level in LEVELS[::10]])
    assert (np.diff(at, axis=0) > 0).all()


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("looks", LOOKS)
def test_the_p_of_looks_is_the_alpha_whose_bound_was_met(looks, sides):
    for alpha, look in itertools.product([2e-4, 0.0123, 0.05, 0.4], range(len(looks))):
        p = [1.0] * look + [bounds(looks, alpha, sides)[look]]
        assert sequential_p(p, looks, sides) == pytest.approx(alpha, rel=1e-4)


def test_the_p_of_looks_never_rises_and_is_at_most_alpha_no_more_often_than_alpha():
    draws, looks = 20_000, (5, 10, 20)
    values = np.random.default_rng(2).normal(size=(draws, 20)).cumsum(axis=1)
    p_RK = 2 * stats.norm.sf(abs(values[:, np.array(looks) - 1]) / np.sqrt(looks))
    whole = np.array([[sequential_p(p_K[: k + 1], looks) for k in range(3)] for p_K in p_RK.tolist()])
    assert (np.diff(whole, axis=1) <= 0).all()
    for alpha in (0.01, 0.05, 0.2, 0.8):
        assert abs((whole[:, -1] <= alpha).mean() - alpha) < 4 * math.sqrt(alpha * (1 - alpha) / draws)


def test_a_look_without_a_p_is_passed_over():
    assert math.isnan(sequential_p([], (5, 10)))
    assert math.isnan(sequential_p([math.nan], (5, 10)))
    assert sequential_p([math.nan, 0.01], (5, 10)) == sequential_p([1.0, 0.01], (5, 10))


@pytest.mark.parametrize("looks", [(), (0, 5), (5, 5), (10, 5)])
def test_looks_must_rise(looks):
    with pytest.raises(InputError, match="must be rising numbers of pairs"):
        bounds(looks)


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="alpha: got 1"):
        bounds((5, 10), 1.0)
    with pytest.raises(InputError, match="got 3, must be one for each of at most 2 looks"):
        sequential_p([0.1, 0.1, 0.1], (5, 10))
