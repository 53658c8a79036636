"""Claims about taking the spread of crossed seeds apart."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from gpt.analysis.statistics import variance
from gpt.analysis.statistics.power import power
from gpt.analysis.statistics.variance import (
    component_sds,
    detectable_sd,
    mean_squares,
    pairs_needed,
    sd_factors,
    variance_components,
)
from gpt.errors import InputError
from gpt.randomness import normal

SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=np.float64
)
"""six targets (rows) rated by four judges: Shrout and Fleiss (1979), Psychological Bulletin 86:420, table 2"""


def table(shape, sds, seed):
    """A table drawn from the model with these standard deviations of rows, columns and residual."""
    rows, columns = shape
    z = normal(seed, "variance test", rows + columns + rows * columns)
    init, order, residual = sds
    rest_SO = z[rows + columns :].reshape(shape)
    return 5 + init * z[:rows, None] + order * z[rows : rows + columns] + residual * rest_SO


def naive_mean_squares(values):
    """Mean squares from sums over every run, as a textbook writes them."""
    rows, columns = len(values), len(values[0])
    grand = sum(v for row in values for v in row) / (rows * columns)
    row_means = [sum(row) / columns for row in values]
    column_means = [sum(row[j] for row in values) / rows for j in range(columns)]
    of_rows = of_columns = of_rest = 0.0
    for i, j in itertools.product(range(rows), range(columns)):
        of_rows += (row_means[i] - grand) ** 2
        of_columns += (column_means[j] - grand) ** 2
        of_rest += (values[i][j] - row_means[i] - column_means[j] + grand) ** 2
    return of_rows / (rows - 1), of_columns / (columns - 1), of_rest / ((rows - 1) * (columns - 1))


def everything(found):
    """Every spread of a result by a name of its own."""
    parts = {name: getattr(found, name).spread for name in ("init", "order", "residual")}
    return {**parts, "run": found.run, **{f"share {name}": spread for name, spread in found.differences.items()}}


@pytest.mark.parametrize("shape", [(3, 3), (5, 5), (4, 7)])
def test_mean_squares_are_those_of_sums_over_every_run(shape):
    values = table(shape, (1.0, 0.5, 0.3), 1)
    assert mean_squares(values)[0] == pytest.approx(naive_mean_squares(values.tolist()), rel=1e-9)


def test_shrout_and_fleiss_ratings_have_their_published_mean_squares_f_and_agreement():
    found = variance_components(SHROUT_FLEISS)
    squares = [found.init.mean_square, found.order.mean_square, found.residual.mean_square]
    assert squares == pytest.approx([11.24, 32.49, 1.02], abs=0.005)
    assert (found.init.df, found.order.df, found.residual.df) == (5, 3, 15)
    assert found.init.share == pytest.approx(0.29, abs=0.005)  # ICC(2,1), table 4
    assert found.init.f == pytest.approx(11.03, abs=0.01)
    assert found.init.p == pytest.approx(stats.f.sf(found.init.f, 5, 15))
    # McGraw and Wong's interval of ICC(2,1) is another approximation to the same: 0.02 to 0.76 for these ratings
    assert (found.init.share_low, found.init.share_high) == pytest.approx((0.02, 0.76), abs=0.05)


def test_estimates_come_back_from_a_large_table():
    found = variance_components(table((300, 200), (2.0, 1.0, 0.5), 2))
    assert [found.init.spread.sd, found.order.spread.sd, found.residual.spread.sd] == pytest.approx(
        [2, 1, 0.5], rel=0.1
    )
    assert [found.init.share, found.order.share, found.residual.share] == pytest.approx(
        [4 / 5.25, 1 / 5.25, 0.25 / 5.25], rel=0.15
    )
    assert found.run.sd == pytest.approx(math.sqrt(5.25), rel=0.1)


def test_what_a_shared_seed_adds_is_left_out_of_a_difference():
    found = variance_components(table((5, 5), (1.0, 0.7, 0.4), 3))
    init, order, residual = (getattr(found, name).estimate for name in ("init", "order", "residual"))
    squared = {name: spread.sd**2 for name, spread in found.differences.items()}
    assert squared == pytest.approx({
        "nothing": 2 * (init + order + residual),
        "init": 2 * (order + residual),
        "order": 2 * (init + residual),
        "both": 2 * residual,
    })  # fmt: skip
    assert found.run.sd**2 == pytest.approx(init + order + residual)


def test_the_rests_interval_is_the_exact_chi_square_interval():
    found = variance_components(table((5, 4), (1.0, 1.0, 1.0), 4))
    low, high = sd_factors(12)
    spread = found.residual.spread
    assert (spread.low / spread.sd, spread.high / spread.sd) == pytest.approx((low, high), rel=2e-3)
    assert (low, high) == pytest.approx((math.sqrt(12 / 23.337), math.sqrt(12 / 4.404)), rel=1e-4)  # printed tables


def test_an_interval_excludes_zero_exactly_where_the_f_test_rejects():
    seen = set()
    for seed in range(60):
        found = variance_components(table((4, 5), (0.6, 0.6, 1.0), seed))
        for component in (found.init, found.order):
            if abs(component.p - 0.025) > 1e-3:  # the interval has 2.5 % on either side
                assert (component.spread.low > 0) == (component.p < 0.025)
                assert (component.share_low > 0) == (component.p < 0.025)
                seen.add(component.p < 0.025)
    assert seen == {True, False}


def test_a_negative_estimate_is_reported_and_counts_as_none():
    values = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 1.0], [3.0, 1.0, 2.0]])  # rows and columns have equal means
    found = variance_components(values)
    assert found.init.mean_square == found.order.mean_square == 0
    assert found.init.estimate == pytest.approx(-found.residual.mean_square / 3)
    assert found.init.spread.sd == found.init.share == found.init.share_low == 0
    assert found.residual.share == 1
    assert (found.init.f, found.init.p) == (0, 1)


def test_rows_and_columns_are_not_mixed_up():
    values = table((4, 6), (1.0, 0.2, 0.5), 5)
    found, turned = variance_components(values), variance_components(values.T)
    assert (found.init.mean_square, found.order.mean_square) == pytest.approx(
        (turned.order.mean_square, turned.init.mean_square)
    )
    assert found.init.estimate == pytest.approx(turned.order.estimate)
    assert found.differences["init"].sd == pytest.approx(turned.differences["order"].sd)


def test_adding_a_constant_changes_no_spread_and_a_factor_scales_them_all():
    values = table((5, 5), (1.0, 0.5, 0.3), 6)
    plain, moved = variance_components(values), variance_components(3 * values + 10)
    for name, spread in everything(plain).items():
        other = everything(moved)[name]
        assert (other.sd, other.low, other.high) == pytest.approx((3 * spread.sd, 3 * spread.low, 3 * spread.high))
    assert moved.init.share == pytest.approx(plain.init.share)
    assert moved.mean == pytest.approx(3 * plain.mean + 10)


def test_runs_that_do_not_differ_have_no_spread_and_no_shares():
    found = variance_components(np.full((3, 4), 1.7))
    assert found.run.sd == found.run.high == 0
    assert math.isnan(found.init.share)
    assert math.isnan(found.init.f)
    assert math.isnan(found.init.p)


def test_rounding_is_not_taken_for_a_rest():
    values = np.array([0.1, 0.2, 0.7])[:, None] + np.array([1.3, 1.1, 1.7])
    found = variance_components(values)
    assert found.residual.mean_square == found.residual.spread.high == 0
    assert found.init.f == math.inf
    assert found.init.p == 0


def test_the_same_table_gives_the_same_bits():
    values = table((5, 5), (1.0, 0.5, 0.3), 7)
    first = variance_components(values)
    variance._chi_squares.cache_clear()
    assert variance_components(values) == first


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((2, 5)), "at least 3 rows and columns"),
        (np.zeros(5), "at least 3 rows and columns"),
        (np.array([[1.0, 2, 3], [1, np.nan, 3], [1, 2, np.inf]]), "2 of 9 are not finite"),
    ],
)
def test_what_is_no_whole_table_is_refused(values, said):
    with pytest.raises(InputError, match=said):
        variance_components(values)
    with pytest.raises(InputError, match="confidence"):
        variance_components(np.eye(3), confidence=1.5)


@pytest.mark.parametrize(
    ("shape", "sds"),
    [((5, 5), (1, 1, 1)), ((5, 5), (0, 0, 1)), ((5, 5), (1, 0, 0.3)), ((3, 3), (0.7, 0.2, 1)), ((5, 5), (3, 3, 0.1))],
    ids=str,
)
def test_95_percent_intervals_cover_the_truth_as_often_as_they_say(monkeypatch, shape, sds):
    """Of 600 tables; 92 % lies three standard errors below 95 %."""
    monkeypatch.setattr(variance, "POINTS", 2**10)
    variance._chi_squares.cache_clear()
    init, order, residual = (sd**2 for sd in sds)
    total = init + order + residual
    truth = {
        "init": init, "order": order, "residual": residual, "run": total, "share nothing": 2 * total,
        "share init": 2 * (order + residual), "share order": 2 * (init + residual), "share both": 2 * residual,
    }  # fmt: skip
    missed = dict.fromkeys([*truth, "init's", "order's", "residual's"], 0)
    tables = 600
    for seed in range(tables):
        found = variance_components(table(shape, sds, seed))
        for name, spread in everything(found).items():
            missed[name] += not spread.low <= math.sqrt(truth[name]) <= spread.high
        for name, part in (("init", init), ("order", order), ("residual", residual)):
            component = getattr(found, name)
            missed[f"{name}'s"] += not component.share_low <= part / total <= component.share_high
    variance._chi_squares.cache_clear()
    covered = {name: 1 - count / tables for name, count in missed.items()}
    assert min(covered.values()) >= 0.92, covered
    assert np.mean(list(covered.values())) <= 0.982, covered


def test_the_f_test_finds_the_effect_that_it_is_said_to_find_as_often_as_said():
    sd = detectable_sd(5, 6)
    p = []
    for seed in range(1500):
        init, _, residual = mean_squares(table((5, 6), (sd, 0.4, 1.0), seed))[0]
        p.append(stats.f.sf(init / residual, 4, 20))
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.8, abs=0.035)
    assert detectable_sd(10, 6) < sd < detectable_sd(5, 3)


def test_the_pairs_needed_are_the_fewest_with_the_power():
    for sd, effect in ((1.0, 0.5), (0.02, 0.01), (1.0, 0.9)):
        n = pairs_needed(sd, effect)
        assert power(n, effect / sd) >= 0.8 > power(n - 1, effect / sd)
    assert pairs_needed(1.0, 0.5) == 34  # Cohen's and every textbook's paired t test at d = 0.5
    assert pairs_needed(0.0, 0.01) == pairs_needed(1e-4, 0.01) == 6  # five pairs cannot give a sign-flip p below 0.05
    assert pairs_needed(1.0, 1e-3) is None


def test_estimates_alone_are_those_that_have_intervals():
    values = table((5, 4), (0.3, 0.1, 1.0), 8)
    found = variance_components(values)
    assert component_sds(values) == (found.init.spread.sd, found.order.spread.sd, found.residual.spread.sd)
