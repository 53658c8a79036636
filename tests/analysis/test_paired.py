"""Claims about means and paired differences of seeds, against scipy, published numbers and simulation."""

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gpt.analysis.statistics.means import mean_interval
from gpt.analysis.statistics.paired import PairedContrast, paired_contrast
from gpt.analysis.statistics.power import detectable_d_z, power
from gpt.analysis.statistics.sign_flips import smallest_p
from gpt.analysis.statistics.verdict import holm, verdict
from gpt.errors import InputError

NAN = math.nan
LOSS_A = [1.52, 1.49, 1.55, 1.47, 1.50, 1.53, 1.51, 1.48]
LOSS_B = [1.50, 1.48, 1.52, 1.47, 1.46, 1.52, 1.50, 1.45]
unhurried = settings(deadline=None, max_examples=50)  # a busy machine is no failure
losses = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 6))
pairs = st.lists(st.tuples(losses, losses), max_size=12)


def same(x: float, y: float) -> bool:
    return x == pytest.approx(y, rel=1e-6, abs=1e-12, nan_ok=True)


def test_mean_interval_is_scipys():
    got = mean_interval(LOSS_A, 0.9)
    expected = stats.ttest_1samp(LOSS_A, 0.0).confidence_interval(0.9)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high))
    assert (got.mean, got.sd) == pytest.approx((np.mean(LOSS_A), np.std(LOSS_A, ddof=1)))
    assert (got.n, got.left_out) == (8, 0)


def test_t_interval_of_five_values_covers_the_mean_at_its_confidence():
    draws, n = 20_000, 5
    values = np.random.default_rng(1).normal(3.0, 0.7, (draws, n))
    margin = mean_interval(values[0])
    factor = (margin.high - margin.mean) / margin.sd  # depends on n and the confidence alone
    assert factor == pytest.approx((mean_interval(values[1]).high - values[1].mean()) / values[1].std(ddof=1))
    covered = np.abs(values.mean(1) - 3.0) <= factor * values.std(1, ddof=1)
    assert abs(covered.mean() - 0.95) < 4 * math.sqrt(0.95 * 0.05 / draws)


def test_mean_interval_counts_what_it_leaves_out():
    got = mean_interval([1.0, NAN, 3.0, math.inf])
    assert (got.mean, got.n, got.left_out) == (2.0, 2, 2)


@pytest.mark.parametrize("values", [[], [NAN, NAN], [1.5], [1.5, NAN]])
def test_mean_interval_of_fewer_than_two_values_has_no_bounds(values):
    got = mean_interval(values)
    assert math.isnan(got.low)
    assert math.isnan(got.high)
    assert math.isnan(got.sd)
    assert same(got.mean, 1.5 if 1.5 in values else NAN)
    assert got.n + got.left_out == len(values)


def test_mean_interval_of_equal_values_is_the_value():
    got = mean_interval([0.1] * 3)
    assert (got.sd, got.low, got.high) == (0.0, got.mean, got.mean)
    assert got.mean == pytest.approx(0.1)


def test_paired_contrast_is_scipys_paired_t_test():
    got = paired_contrast(LOSS_A, LOSS_B, 0.01)
    expected = stats.ttest_rel(LOSS_B, LOSS_A)
    interval = expected.confidence_interval(0.95)
    assert got.p_t == pytest.approx(expected.pvalue)
    assert (got.low, got.high) == pytest.approx((interval.low, interval.high))
    assert got.d_z * math.sqrt(8) == pytest.approx(expected.statistic)
    assert got.correlation == pytest.approx(stats.pearsonr(LOSS_A, LOSS_B).statistic)
    assert got.mean_difference == pytest.approx(-0.01875)
    assert got.differences == pytest.approx([b - a for a, b in zip(LOSS_A, LOSS_B, strict=True)])
    assert got.probability_b_lower == 7.5 / 8


@pytest.mark.parametrize("n", [2, 3, 10, 50])
@pytest.mark.parametrize("t", [-300.0, -1.3, 0.0, 2.0, 40.0, 5000.0])
def test_d_z_interval_ends_where_the_observed_d_z_is_in_a_tail(n, t):
    shape = np.linspace(-1, 1, n) / np.std(np.linspace(-1, 1, n), ddof=1)
    got = paired_contrast(np.zeros(n), shape + t / math.sqrt(n), None)
    assert got.d_z == pytest.approx(t / math.sqrt(n), rel=1e-9, abs=1e-12)
    flip = 1 if t >= 0 else -1  # scipy's nct is reliable for positive t alone
    above = stats.nct.sf(abs(t), n - 1, flip * math.sqrt(n) * np.array([got.d_z_low, got.d_z_high]))
    assert sorted(above) == pytest.approx([0.025, 0.975], abs=1e-6)
    assert got.d_z_low < got.d_z < got.d_z_high


def test_a_d_z_beyond_all_measure_has_no_interval():
    got = paired_contrast(np.zeros(5), 1e6 + np.arange(5.0), None)
    assert got.d_z == pytest.approx(1e6 / math.sqrt(2.5), rel=1e-5)
    assert math.isnan(got.d_z_low)
    assert math.isnan(got.d_z_high)


@unhurried
@given(pairs)
def test_swapping_the_variants_negates_the_difference_and_keeps_p(both):
    a, b = [x for x, _ in both], [y for _, y in both]
    one, other = paired_contrast(a, b, 0.5), paired_contrast(b, a, 0.5)
    for name in (
        "p_t",
        "p_sign_flip",
        "sd_difference",
        "correlation",
        "p_equivalence",
        "minimum_detectable_difference",
    ):
        assert same(getattr(one, name), getattr(other, name))
    assert same(one.mean_difference, -other.mean_difference)
    assert same(one.d_z, -other.d_z)
    assert same(one.low, -other.high)
    assert same(one.d_z_low, -other.d_z_high)
    assert same(one.probability_b_lower, 1 - other.probability_b_lower)


@unhurried
@given(pairs.filter(len), st.floats(-100, 100).map(lambda x: round(x, 3)), st.randoms(use_true_random=False))
def test_order_of_seeds_does_not_matter(both, shift, random):
    shuffled = random.sample(both, len(both))
    one = paired_contrast([x for x, _ in both], [y + shift for _, y in both], 0.5)
    other = paired_contrast([x for x, _ in shuffled], [y + shift for _, y in shuffled], 0.5)
    assert one.p_sign_flip == other.p_sign_flip
    assert one.mean_difference == pytest.approx(other.mean_difference, rel=1e-9, abs=1e-9)
    assert sorted(one.differences) == sorted(other.differences)


@unhurried
@given(pairs, st.sets(st.integers(0, 11)))
def test_every_pair_is_counted_and_left_out_ones_change_nothing_else(both, broken):
    a = [NAN if i in broken and i % 2 else x for i, (x, _) in enumerate(both)]
    b = [math.inf if i in broken and not i % 2 else y for i, (_, y) in enumerate(both)]
    got = paired_contrast(a, b, 0.1)
    kept = [pair for i, pair in enumerate(both) if i not in broken]
    assert (got.n, got.left_out) == (len(kept), len(both) - len(kept))
    assert [i for i, d in enumerate(got.differences) if math.isnan(d)] == [i for i in range(len(both)) if i in broken]
    clean = paired_contrast([x for x, _ in kept], [y for _, y in kept], 0.1)
    for field in dataclasses.fields(PairedContrast):
        if field.name not in ("differences", "left_out"):
            assert same(getattr(got, field.name), getattr(clean, field.name)), field.name


def test_no_pairs_give_no_numbers():
    got = paired_contrast([NAN, 1.0], [1.0, math.inf], 0.1)
    assert (got.n, got.left_out, got.smallest_p) == (0, 2, 1.0)
    numbers = dataclasses.asdict(got)
    for name in ("n", "left_out", "smallest_p", "sign_flip_exact", "differences"):
        del numbers[name]
    assert all(math.isnan(x) for x in numbers.values())


def test_one_pair_gives_a_difference_and_no_certainty():
    got = paired_contrast([1.5], [1.25], 0.1)
    assert (got.n, got.mean_difference, got.p_sign_flip, got.smallest_p) == (1, -0.25, 1.0, 1.0)
    assert got.probability_b_lower == 1.0
    for name in ("sd_difference", "low", "high", "p_t", "d_z", "d_z_low", "d_z_high", "correlation", "p_equivalence"):
        assert math.isnan(getattr(got, name))
    assert math.isnan(got.minimum_detectable_difference)


def test_bit_equal_variants_do_not_differ():
    got = paired_contrast(LOSS_A, LOSS_A, 0.01)
    assert (got.mean_difference, got.sd_difference, got.low, got.high) == (0.0, 0.0, 0.0, 0.0)
    assert (got.p_t, got.p_sign_flip, got.p_equivalence, got.probability_b_lower) == (1.0, 1.0, 0.0, 0.5)
    assert got.minimum_detectable_difference == 0.0
    assert got.correlation == pytest.approx(1.0)
    assert math.isnan(got.d_z)
    assert math.isnan(got.d_z_low)


def test_a_constant_shift_has_no_spread_but_for_rounding():
    a = [0.3, 1.1, 2.3, 3.7, 4.9]
    got = paired_contrast(a, [x + 0.1 for x in a], 0.01)
    assert np.ptp(got.differences) > 0  # rounding alone
    assert (got.sd_difference, got.low, got.high) == (0.0, got.mean_difference, got.mean_difference)
    assert (got.p_t, got.p_sign_flip, got.p_equivalence) == (0.0, got.smallest_p, 1.0)
    assert math.isnan(got.d_z)


def test_a_difference_in_the_last_bit_is_none():
    got = paired_contrast([1.0] * 6, [1.0] * 5 + [1.0 + np.finfo(float).eps], 0.01)
    assert (got.p_t, got.p_sign_flip, got.mean_difference) == (1.0, 1.0, 0.0)


def test_correlation_needs_three_pairs_and_variation():
    assert math.isnan(paired_contrast([1.0, 2.0], [1.0, 3.0], None).correlation)
    assert math.isnan(paired_contrast([1.0, 1.0, 1.0], [1.0, 3.0, 2.0], None).correlation)
    assert math.isnan(paired_contrast([1.0, 3.0, 2.0], [1.0, 1.0, 1.0 + np.finfo(float).eps], None).correlation)
    assert paired_contrast([1.0, 2.0, 3.0], [6.0, 4.0, 2.0], None).correlation == pytest.approx(-1.0)


@unhurried
@given(st.lists(st.tuples(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30)), max_size=6))
def test_no_finite_input_gives_a_warning_or_a_number_out_of_range(both):
    got = paired_contrast([x for x, _ in both], [y for _, y in both], 1.0)
    for name in ("p_t", "p_sign_flip", "p_equivalence", "probability_b_lower", "smallest_p"):
        assert 0 <= getattr(got, name) <= 1 or math.isnan(getattr(got, name)), name
    assert -1 <= got.correlation <= 1 or math.isnan(got.correlation)


def test_results_are_plain_numbers_that_json_can_hold():
    for n in (3, 25):
        a, b = np.random.default_rng(7).normal(size=(2, n))
        for result in (paired_contrast(a, b, 0.1), mean_interval(a)):
            plain = dataclasses.asdict(result)
            assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_equivalence_p_is_the_larger_of_scipys_two_one_sided_tests():
    d = np.subtract(LOSS_B, LOSS_A)
    for effect in (0.005, 0.03, 0.1):
        lower = stats.ttest_1samp(d, -effect, alternative="greater").pvalue
        upper = stats.ttest_1samp(d, effect, alternative="less").pvalue
        assert paired_contrast(LOSS_A, LOSS_B, effect).p_equivalence == pytest.approx(max(lower, upper))


@unhurried
@given(pairs.filter(lambda both: len(both) > 1), st.floats(1e-3, 1e7))
def test_equivalence_at_5_percent_is_a_90_percent_interval_within_the_margin(both, effect):
    got = paired_contrast([x for x, _ in both], [y for _, y in both], effect, confidence=0.9)
    if got.p_equivalence < 0.05 * (1 - 1e-9):
        assert -effect < got.low <= got.high < effect
    if got.p_equivalence > 0.05 * (1 + 1e-9):
        assert not (-effect < got.low and got.high < effect)


def test_equivalence_is_rarely_claimed_for_a_difference_as_large_as_what_matters():
    d = np.random.default_rng(8).normal(0.5, 0.2, (400, 6))
    claimed = np.mean([paired_contrast(np.zeros(6), row, 0.5).p_equivalence <= 0.05 for row in d])
    assert claimed < 0.05 + 4 * math.sqrt(0.05 * 0.95 / len(d))


def test_minimum_detectable_difference_is_what_the_power_formula_detects():
    got = paired_contrast(LOSS_A, LOSS_B, 0.01)
    assert got.minimum_detectable_d_z == detectable_d_z(8)
    assert power(8, got.minimum_detectable_difference / got.sd_difference) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: paired_contrast([1.0, 2.0], [1.0], 0.1), "2 of a and 1 of b"),
        (lambda: paired_contrast([[1.0]], [[1.0]], 0.1), r"a: .* shape \(1, 1\)"),
        (lambda: paired_contrast([1.0], ["x"], 0.1), "b: must be one number per seed"),
        (lambda: paired_contrast([1.0], [1.0], 0.0), "smallest_effect: got 0"),
        (lambda: paired_contrast([1.0], [1.0], NAN), "smallest_effect: got nan"),
        (lambda: paired_contrast([1.0], [1.0], 0.1, 95), "confidence: got 95"),
        (lambda: mean_interval([1.0], 1.0), "confidence: got 1"),
        (lambda: mean_interval(3.0), "values: must be one number per seed"),
        (lambda: holm([0.5, 1.5]), r"p_values: got 1\.5"),
        (lambda: verdict(paired_contrast([1.0], [1.0], None), 0.5, 1.0, alpha=0.0), "alpha: got 0"),
        (lambda: power(-1, 1.0), "n: got -1"),
        (lambda: power(5, math.inf), "effect: got inf"),
        (lambda: power(5, 1.0, 1.0), "alpha: got 1"),
        (lambda: power(2, 1.0, 1e-5), "alpha: got 1e-05"),
        (lambda: detectable_d_z(-1), "n: got -1"),
        (lambda: detectable_d_z(5, 0.05, 0.05), r"power: got 0\.05"),
        (lambda: detectable_d_z(5, 1.0), "power: got 1"),
        (lambda: smallest_p(-1), "n: got -1"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_import_stays_light():
    code = "import sys, gpt.analysis.statistics.failures; sys.exit(bool({'scipy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
