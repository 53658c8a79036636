"""Claims about what figures make of recorded series: bands, windows, stacked runs, few steps, axes."""

import numpy as np
import pytest
import synthetic
from synthetic import Outcome

from gpt.analysis.collect import collect
from gpt.report.figures import series
from gpt.report.figures.long_range import by_few_positions
from gpt.report.figures.series import rounded, stacked
from gpt.report.figures.spec import variant


def test_layers_are_listed_from_input_to_output_whichever_variant_has_them():
    short, whole = ["embedding", "layer 0", "head"], ["embedding", "layer 0", "layer 1", "head"]
    assert series.names_of_all([short, whole, ["embedding"]]) == whole
    assert series.lacking({"a": short, "b": whole}) == " Not in every variant: `a` has no layer 1."
    assert series.lacking({"a": whole, "b": whole}) == ""


def test_the_band_is_the_t_interval_of_each_steps_mean():
    values_SN = np.array([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]])
    mean, low, high = series.band(values_SN)
    half = 4.302652729749464 * np.std([1, 2, 6], ddof=1) / np.sqrt(3)
    assert mean == pytest.approx([3.0, 5.0])
    assert low == pytest.approx([3.0 - half, 5.0])
    assert high == pytest.approx([3.0 + half, 5.0])
    assert series.banded([1, 2], values_SN[:1], variant(0), "").low is None
    assert series.band(values_SN, log=True)[0] == pytest.approx([12 ** (1 / 3), 5])


def test_windows_average_consecutive_steps_and_lose_none():
    steps = np.arange(1, 8)
    ends, means = series.windows(steps, steps.astype(float) * 10, wanted=3)
    assert ends.tolist() == [3, 6, 7]
    assert means.tolist() == [20, 50, 70]
    _, layers = series.windows(steps, np.stack([steps, -steps], axis=1).astype(float), wanted=3)
    assert layers[:, 1].tolist() == [-2, -5, -7]


def test_runs_are_stacked_over_the_steps_that_all_of_them_have(tmp_path):
    def outcome(run):
        return Outcome(state="diverged", why="left", nan_at=20 + run.seed, first_loss=4 + run.seed)

    group = collect(synthetic.write_study(tmp_path, synthetic.study(), outcome)).settings[0].groups[0]
    steps, values_SN = stacked(group.shown, "train/loss")
    assert steps.tolist() == list(range(1, 20))
    assert values_SN[:, 0] == pytest.approx([4, 5, 6])


def test_later_positions_are_averaged_and_none_is_left_out():
    loss = np.arange(2 * 14, dtype=float).reshape(2, 14)
    at, means = by_few_positions(loss)
    assert at.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 10.5, 13.5]
    assert means[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 9.5, 12.5]
    assert by_few_positions(loss[:, :3])[1].tolist() == loss[:, :3].tolist()


def test_steps_are_spread_from_the_first_to_the_last_and_closer_early():
    assert series.few_steps(range(0, 2001, 100), 5) == [0, 100, 400, 900, 2000]
    for n in range(1, 30):
        steps = series.few_steps(list(range(n)), 5)
        assert (steps[0], steps[-1]) == (0, n - 1)
        assert len(set(steps)) == len(steps) <= 5


def test_curves_are_rounded_and_what_is_not_finite_is_a_gap():
    found = rounded([1.2345678, np.nan, np.inf, -0.00012345678, 0.0, 1234567.0])
    assert found == pytest.approx([1.2346, np.nan, np.nan, -0.00012346, 0, 1234600], rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("axis", [series.log_axis, series.symlog_axis, series.linear_axis])
def test_an_axis_holds_its_values_and_its_ticks_lie_on_it(axis):
    for values in ([0.02, 0.5, 30], [1.0], [3.0, 3.1]):
        made = axis("", [np.array(values)])
        low, high = made.limits
        assert low < min(values) <= max(values) < high
        assert all(low <= place <= high for place, _ in made.ticks or ())
        assert made.scale != "log" or len(made.ticks) >= 2
