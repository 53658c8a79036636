"""Claims about comparisons that count failed runs: none is dropped, each is worse than any that did not fail."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gpt.analysis.statistics.contrasts import compare
from gpt.analysis.statistics.failures import failure_contrast, rank_contrast
from gpt.errors import InputError
from gpt.records.metric import parse_metric

NAN = math.nan
flags = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=12)
runs = st.lists(
    st.tuples(st.integers(0, 5).map(float), st.integers(0, 5).map(float), st.booleans(), st.booleans()), max_size=12
)


def columns(rows, width):
    return [[row[i] for row in rows] for i in range(width)]


# rates


@settings(max_examples=40, deadline=None)
@given(flags)
def test_every_seed_is_in_the_counts(rows):
    a, b = columns(rows, 2)
    got = failure_contrast(a, b)
    assert (got.n, got.failed_a, got.failed_b) == (len(rows), sum(a), sum(b))
    assert got.failed_both == sum(x and y for x, y in rows)


def test_rate_interval_is_exact():
    got = failure_contrast([True] * 3 + [False] * 7, [False] * 10)
    assert (got.rate_a, got.rate_b) == (0.3, 0.0)
    # bounds at which 3 or more, and 3 or fewer, of 10 have a probability of 2.5 %
    assert stats.binom.sf(2, 10, got.interval_a.low) == pytest.approx(0.025)
    assert stats.binom.cdf(3, 10, got.interval_a.high) == pytest.approx(0.025)
    assert got.interval_b.low == 0.0
    assert got.interval_b.high == pytest.approx(1 - 0.025**0.1)


def test_a_lower_confidence_gives_a_shorter_interval():
    a, b = [True] * 3 + [False] * 7, [False] * 10
    wide, short = failure_contrast(a, b, 0.99).interval_a, failure_contrast(a, b, 0.5).interval_a
    assert wide.low < short.low < 0.3 < short.high < wide.high


@settings(max_examples=40, deadline=None)
@given(flags)
def test_paired_p_is_the_share_of_coin_tosses_at_least_as_lopsided(rows):
    a, b = columns(rows, 2)
    only_a, only_b = sum(x and not y for x, y in rows), sum(y and not x for x, y in rows)
    tosses = list(itertools.product([1, -1], repeat=only_a + only_b))
    expected = sum(abs(sum(toss)) >= abs(only_a - only_b) for toss in tosses) / len(tosses) if rows else NAN
    assert failure_contrast(a, b).p_paired == pytest.approx(expected, nan_ok=True)


def boschloo_by_definition(count_a: int, count_b: int, n: int) -> float:
    """Twice the smaller one-sided p, which is the largest probability, over the rate, of a Fisher p this small."""

    def fisher(x: int, y: int, side: str) -> float:
        return stats.fisher_exact([[x, y], [n - x, n - y]], alternative=side).pvalue

    one_sided = []
    for side in ("less", "greater"):
        observed = fisher(count_a, count_b, side) * (1 + 1e-9)
        extreme = [(x, y) for x in range(n + 1) for y in range(n + 1) if fisher(x, y, side) <= observed]
        rate = np.linspace(0, 1, 2001)
        one_sided.append(sum(stats.binom.pmf(x, n, rate) * stats.binom.pmf(y, n, rate) for x, y in extreme).max())
    return min(1.0, 2 * min(one_sided))


@pytest.mark.parametrize(("count_a", "count_b"), [(0, 4), (5, 1), (2, 3), (6, 0)])
def test_unpaired_p_is_boschloos_by_its_definition(count_a, count_b):
    n = 6
    got = failure_contrast([i < count_a for i in range(n)], [i < count_b for i in range(n)])
    assert got.p_unpaired == pytest.approx(boschloo_by_definition(count_a, count_b, n), rel=1e-4)


def test_ten_against_none_is_beyond_doubt_and_half_of_six_is_not():
    assert failure_contrast([False] * 10, [True] * 10).p_paired == pytest.approx(2 / 2**10)
    got = failure_contrast([False] * 6, [True] * 3 + [False] * 3)
    assert (got.p_paired, got.p_unpaired > 0.05) == (0.25, True)


@pytest.mark.parametrize("failed", [True, False])
def test_variants_that_fail_always_or_never_do_not_differ(failed):
    got = failure_contrast([failed] * 5, [failed] * 5)
    assert (got.p_paired, got.p_unpaired) == (1.0, 1.0)
    assert got.rate_a == float(failed)


@settings(max_examples=20, deadline=None)
@given(flags.filter(lambda rows: len(rows) < 6))
def test_swapping_the_variants_keeps_p_and_swaps_the_rest(rows):
    a, b = columns(rows, 2)
    one, other = failure_contrast(a, b), failure_contrast(b, a)
    assert (one.failed_a, one.failed_b) == (other.failed_b, other.failed_a)
    assert [one.p_paired, one.p_unpaired] == pytest.approx([other.p_paired, other.p_unpaired], nan_ok=True)


def test_no_seeds_give_no_rates():
    got = failure_contrast([], [])
    assert (got.n, got.failed_a, got.failed_b, got.failed_both) == (0, 0, 0, 0)
    rest = [got.rate_a, got.rate_b, got.p_paired, got.p_unpaired, got.interval_a.low, got.interval_b.high]
    assert all(math.isnan(x) for x in rest)


# ranks


@settings(max_examples=40, deadline=None)
@given(runs, st.booleans())
def test_every_seed_is_a_win_a_loss_or_a_tie_by_the_stated_order(rows, lower_is_better):
    def key(value, failed):
        return (1, 0.0) if failed else (0, value if lower_is_better else -value)

    a, b, failed_a, failed_b = columns(rows, 4)
    keys = [(key(x, p), key(y, q)) for x, y, p, q in rows]
    got = rank_contrast(a, b, failed_a, failed_b, lower_is_better)
    assert got.wins == sum(y < x for x, y in keys)
    assert got.losses == sum(y > x for x, y in keys)
    assert got.ties == sum(y == x for x, y in keys)
    assert got.wins + got.losses + got.ties == got.n == len(rows)


@settings(max_examples=40, deadline=None)
@given(runs)
def test_swapping_the_variants_swaps_wins_and_losses(rows):
    a, b, failed_a, failed_b = columns(rows, 4)
    one, other = rank_contrast(a, b, failed_a, failed_b), rank_contrast(b, a, failed_b, failed_a)
    assert (one.wins, one.losses, one.ties) == (other.losses, other.wins, other.ties)
    assert one.p_sign == pytest.approx(other.p_sign, nan_ok=True)
    assert one.probability_b_better == pytest.approx(1 - other.probability_b_better, nan_ok=True)


@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf, 0.0])
@pytest.mark.parametrize("lower_is_better", [True, False])
def test_a_failed_run_loses_whatever_its_value(value, lower_is_better):
    got = rank_contrast([5.0], [value], [False], [True], lower_is_better)
    assert (got.wins, got.losses, got.probability_b_better) == (0, 1, 0.0)
    assert rank_contrast([NAN], [value], [True], [True], lower_is_better).ties == 1


def test_better_losses_among_survivors_do_not_outweigh_failure():
    a, b = [1.0] * 10, [0.9, 0.9] + [NAN] * 8
    got = rank_contrast(a, b, [False] * 10, [False, False] + [True] * 8)
    assert (got.wins, got.losses, got.probability_b_better) == (2, 8, 0.2)
    assert got.p_sign == pytest.approx(stats.binomtest(2, 10).pvalue)


def test_sign_test_leaves_ties_out():
    got = rank_contrast([1.0] * 8, [0.5] * 6 + [1.0] * 2, [False] * 8, [False] * 8)
    assert (got.wins, got.ties, got.p_sign) == (6, 2, 2 / 2**6)
    assert got.probability_b_better == 7 / 8
    assert rank_contrast([1.0], [1.0], [False], [False]).p_sign == 1.0


def test_no_seeds_have_no_rank():
    got = rank_contrast([], [], [], [])
    assert got.n == 0
    assert math.isnan(got.p_sign)
    assert math.isnan(got.probability_b_better)


# both


def test_results_are_plain_numbers_that_json_can_hold():
    a, b = np.array([True, False, True]), np.array([False, False, True])
    for result in (failure_contrast(a, b), rank_contrast(np.ones(3), np.zeros(3), a, b)):
        plain = dataclasses.asdict(result)
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: rank_contrast([1.0, NAN], [1.0, 1.0], [False] * 2, [False] * 2),
            r"a\[1\]: got nan .* did not fail",
        ),
        (lambda: rank_contrast([1.0], [math.inf], [False], [False]), r"b\[0\]: got inf"),
        (lambda: rank_contrast([1.0], [1.0], [False, True], [False]), "1 values and 2 truth values"),
        (lambda: rank_contrast([1.0], [1.0, 2.0], [False], [False] * 2), "1 of a and 2 of b"),
        (lambda: failure_contrast([True], [True, False]), "1 of a and 2 of b"),
        (lambda: failure_contrast([0.0], [True]), "failed_a: must be one truth value per seed"),
        (lambda: failure_contrast([True], [None]), "failed_b: must be one truth value per seed"),
        (lambda: failure_contrast([True], [True], 95), "confidence: got 95"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize(("decided", "smallest"), [(0, 1.0), (1, 1.0), (4, 0.125), (10, 2**-9)])
def test_pairs_that_failed_in_both_do_not_lower_the_smallest_p(decided: int, smallest: float) -> None:
    pairs = [(seed, 3.0, 2.0, True, seed >= decided) for seed in range(10)]
    contrast = compare("a", "b", "", parse_metric("val/loss.min"), 0.01, 10, pairs)
    assert contrast.among_survivors
    assert contrast.p == contrast.smallest_p == smallest
