"""Claims about the power of the paired t test, against published numbers and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gpt.analysis.statistics.power import detectable_d_z, power

unhurried = settings(deadline=None, max_examples=50)  # a busy machine is no failure


@pytest.mark.parametrize(("n", "published"), [(5, 1.68), (8, 1.16), (10, 1.00), (20, 0.66)])
def test_detectable_d_z_is_the_published_one(n, published):
    assert detectable_d_z(n) == pytest.approx(published, abs=0.005)


@unhurried
@given(st.integers(2, 200), st.floats(0.1, 0.99), st.sampled_from([0.05, 0.05 / 3, 0.001]))
def test_detectable_d_z_has_the_power_it_promises(n, share, alpha):
    assert power(n, detectable_d_z(n, share, alpha), alpha) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize(("n", "effect"), [(5, 1.0), (8, 1.16), (10, 0.0), (20, -0.66)])
def test_power_is_the_share_of_simulated_studies_that_reject(n, effect):
    d = np.random.default_rng(9).normal(effect, 1.0, (40_000, n))
    rejected = np.mean(stats.ttest_1samp(d, 0.0, axis=1).pvalue <= 0.05)
    expected = power(n, effect)
    assert abs(rejected - expected) < 4 * math.sqrt(expected * (1 - expected) / len(d))


@unhurried
@given(st.integers(2, 100), st.floats(0, 100))
def test_power_grows_with_effect_and_pairs(n, effect):
    assert power(n, effect) == power(n, -effect)
    assert power(n, effect) <= power(n, effect * 1.1) + 1e-12
    assert power(n, effect) <= power(n + 1, effect) + 1e-12


def test_power_far_out_is_one():
    for n, alpha in ((2, 1e-4), (5, 0.05), (1000, 0.05)):
        assert power(n, 1e12, alpha) == pytest.approx(1.0, abs=1e-12)


def test_fewer_than_two_pairs_detect_nothing():
    assert power(0, 5.0) == power(1, 5.0) == 0.0
    assert math.isnan(detectable_d_z(0))
    assert math.isnan(detectable_d_z(1))
