"""Claims about skewed differences and the spread between seeds, against scipy and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from gpt.analysis.statistics.noise_floor import noise_floor
from gpt.analysis.statistics.skewness import RARE, skewness

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("n", [4, 7, 20, 60])
def test_skewness_is_scipys(n):
    values = RNG.exponential(size=n)
    assert skewness(values).skewness == pytest.approx(stats.skew(values, bias=False))


@pytest.mark.parametrize("n", [5, 10, 20])
def test_of_normal_differences_one_in_twenty_is_called_skewed(n):
    p = np.array([skewness(values).p_normal for values in RNG.normal(3.0, 0.2, (2000, n))])
    assert abs((p <= RARE).mean() - RARE) < 4 * math.sqrt(RARE * (1 - RARE) / len(p))
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_of_lognormal_differences_most_are_called_skewed():
    found = [skewness(values).skewed for values in np.exp(RNG.normal(size=(500, 14)))]
    assert np.mean(found) > 0.6


def test_halls_t_is_the_t_test_of_symmetric_differences():
    values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) + 1.3
    assert skewness(values).p_hall == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


@pytest.mark.parametrize("n", [8, 10])
def test_of_skewed_differences_without_a_mean_halls_t_rejects_fewer(n):
    differences = np.exp(RNG.normal(size=(4000, n))) - math.exp(0.5)
    hall = np.mean([skewness(values).p_hall <= 0.05 for values in differences])
    plain = (stats.ttest_1samp(differences, 0, axis=1).pvalue <= 0.05).mean()
    assert hall < 0.1 < 0.14 < plain


def test_halls_t_rises_with_the_mean_however_skewed():
    values = -np.array([0.0, 0.0, 0.1, 0.1, 0.2, 0.3, 0.9, 3.0])
    p = [skewness(values + shift).p_hall for shift in np.linspace(1.0, 20.0, 40)]
    assert (np.diff(p) <= 1e-12).all()
    assert p[-1] < 1e-4


def test_halls_t_does_not_care_about_sign_or_unit():
    values = RNG.exponential(size=9) - 0.5
    assert skewness(-values).p_hall == pytest.approx(skewness(values).p_hall)
    assert skewness(1e-6 * values).p_hall == pytest.approx(skewness(values).p_hall)
    assert skewness(-values).skewness == -skewness(values).skewness


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 4.0], [0.1] * 8, [math.nan] * 8])
def test_differences_without_a_shape_have_none(values):
    found = skewness(values)
    assert math.isnan(found.skewness)
    assert math.isnan(found.p_hall)
    assert not found.skewed


def test_the_noise_floor_is_the_pooled_standard_deviation():
    first, second = [1.0, 2.0, 4.0], [7.0, 7.5, math.nan]
    pooled = math.sqrt((2 * np.var(first, ddof=1) + np.var([7.0, 7.5], ddof=1)) / 3)
    found = noise_floor([first, second, [9.0]])
    assert (found.sd, found.df) == (pytest.approx(pooled), 3)
    assert found.low == pytest.approx(pooled * math.sqrt(3 / stats.chi2.ppf(0.975, 3)))
    assert math.isnan(noise_floor([[1.0], []]).sd)


def test_the_interval_of_the_noise_floor_covers_the_true_spread():
    found = [noise_floor(RNG.normal(i, 0.7, (2, 5))) for i in range(2000)]
    covered = np.mean([each.low <= 0.7 <= each.high for each in found])
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)
