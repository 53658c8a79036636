"""Claims about the statistics of paired seeds, against scipy, hand enumeration, published numbers and simulation."""

import dataclasses
import itertools
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
from gpt.analysis.statistics.sign_flips import DRAWS, sign_flip_p, smallest_p
from gpt.analysis.statistics.verdict import holm, verdict
from gpt.errors import InputError

NAN = math.nan
LOSS_A = [1.52, 1.49, 1.55, 1.47, 1.50, 1.53, 1.51, 1.48]
LOSS_B = [1.50, 1.48, 1.52, 1.47, 1.46, 1.52, 1.50, 1.45]

unhurried = settings(deadline=None, max_examples=50)  # a busy machine is no failure
losses = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 6))
pairs = st.lists(st.tuples(losses, losses), max_size=12)


def enumerated_sign_flip_p(differences: list[int]) -> float:
    """The definition, over every assignment of signs; exact for whole numbers."""
    observed = abs(sum(differences))
    flips = list(itertools.product([1, -1], repeat=len(differences)))
    extreme = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= observed for signs in flips]
    return sum(extreme) / len(flips)


def same(x: float, y: float) -> bool:
    return x == pytest.approx(y, rel=1e-6, abs=1e-12, nan_ok=True)


# intervals


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


# paired contrasts


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


# equivalence


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


def corrected(differences: list[float], effect: float | None, p_adjusted: float | None = None, family: int = 1) -> str:
    contrast = paired_contrast(np.zeros(len(differences)), differences, effect)
    return verdict(contrast, contrast.p_sign_flip if p_adjusted is None else p_adjusted, contrast.p_equivalence, family)


SMALL = [0.010, 0.012, 0.009, 0.011, 0.010, 0.012, 0.008]


def test_the_two_answers_make_four_verdicts():
    assert corrected(SMALL, 0.005) == "different"
    assert corrected(SMALL, 0.05) == "different but smaller than matters"
    assert corrected([0.01, -0.01, 0.02, -0.02, 0.0, 0.01, -0.01], 0.05) == "equivalent"
    assert corrected([1.0, -1.0, 2.0, -2.0, 0.0, 1.0, -1.0], 0.05) == "inconclusive"


def test_difference_is_judged_on_the_corrected_p():
    assert corrected(SMALL, 0.005, p_adjusted=0.06) == "inconclusive"
    assert corrected(SMALL, 0.05, p_adjusted=0.06) == "equivalent"


def test_equivalence_needs_as_many_pairs_as_a_difference():
    for pairs in range(2, 6):
        assert corrected([0.0001, 0.0002, 0.0001, 0.0002, 0.0001][:pairs], 0.05) == "inconclusive"
        assert corrected([0.0] * pairs, 0.05) == "inconclusive"
    assert corrected([0.0001, -0.0002, 0.0001, -0.0002, 0.0001, -0.0002], 0.05) == "equivalent"


def test_in_a_larger_family_equivalence_needs_more_pairs():
    agreeing = [0.0001, -0.0002] * 4
    assert [corrected(agreeing[:7], 0.05, family=family) for family in (1, 3, 4)] == ["equivalent"] * 2 + [
        "inconclusive"
    ]
    assert corrected(agreeing, 0.05, family=6) == "equivalent"


def test_five_seeds_can_never_be_different_however_far_apart():
    assert corrected([10.0, 10.1, 10.2, 9.9, 9.8], 0.01) == "inconclusive"


def test_without_a_smallest_effect_nothing_is_equivalent():
    assert corrected([0.0] * 10, None) == "inconclusive"
    assert corrected(SMALL, None) == "different"


def test_equal_variants_are_equivalent():
    assert corrected([0.0] * 10, 0.01) == "equivalent"


@pytest.mark.parametrize("differences", [[], [0.0], [NAN] * 10])
def test_too_few_pairs_are_inconclusive(differences):
    assert corrected(differences, 0.01) == "inconclusive"


def test_survivors_cannot_vouch_for_a_failed_run():
    assert corrected([0.0] * 10 + [NAN], 0.01) == "inconclusive"
    assert corrected([*SMALL, NAN], 0.05) == "different"


def test_a_test_that_was_not_made_is_not_a_difference():
    assert corrected(SMALL, 0.005, p_adjusted=NAN) == "inconclusive"


# Holm


def test_holm_worked_example():
    # sorted .005 .01 .03 .04 by 4 3 2 1: .02 .03 .06 .04, and .04 rises to .06 because it may not fall
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def rejected_step_by_step(p_values: list[float], alpha: float) -> set[int]:
    """Holm's procedure as he states it: the smallest at alpha / m, the next at alpha / (m - 1), until one fails."""
    rejected = set()
    for step, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[i] * (len(p_values) - step) > alpha:
            break
        rejected.add(i)
    return rejected


@unhurried
@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, alpha):
    adjusted = holm(p_values)
    assert {i for i, p in enumerate(adjusted) if p <= alpha} == rejected_step_by_step(p_values, alpha)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    by_p = [q for _, q in sorted(zip(p_values, adjusted, strict=True))]
    assert by_p == sorted(by_p)


@unhurried
@given(st.lists(st.one_of(st.floats(0, 1), st.just(NAN)), max_size=8))
def test_a_missing_p_stays_missing_and_is_not_counted(p_values):
    adjusted = holm(p_values)
    assert [math.isnan(p) for p in adjusted] == [math.isnan(p) for p in p_values]
    assert [p for p in adjusted if not math.isnan(p)] == holm([p for p in p_values if not math.isnan(p)])


# power


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


def test_minimum_detectable_difference_is_what_the_power_formula_detects():
    got = paired_contrast(LOSS_A, LOSS_B, 0.01)
    assert got.minimum_detectable_d_z == detectable_d_z(8)
    assert power(8, got.minimum_detectable_difference / got.sd_difference) == pytest.approx(0.8)


# bad input


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
