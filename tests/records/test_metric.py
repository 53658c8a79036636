import math
import random

import pytest

from gpt.errors import InputError
from gpt.records.catalogue import SCALARS
from gpt.records.metric import REDUCERS, Metric, parse_metric

ROWS = [
    {"step": 1, "train/loss": 4.0},
    {"step": 2, "train/loss": 2.0, "val/loss": 3.0},
    {"step": 3, "train/loss": 1.0},
    {"step": 4, "train/loss": 3.0, "val/loss": 2.5},
]


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("train/loss.min", 1.0),
        ("train/loss.max", 4.0),
        ("train/loss.mean", 2.5),
        ("train/loss.last", 3.0),
        ("val/loss.min", 2.5),
        ("val/loss.mean", 2.75),
        ("val/loss.last", 2.5),
    ],
)
def test_a_metric_is_taken_over_the_rows_that_hold_its_key(metric, value):
    assert parse_metric(metric).of(ROWS) == value


def test_at_best_val_is_the_value_of_the_row_with_the_lowest_validation_loss() -> None:
    """Against a search row by row, over rows that lack either loss, hold none that is finite, or tie."""
    draw = random.Random(1)
    for _ in range(300):
        losses = [(draw.choice([None, math.inf, 0.5, 1.0]), draw.choice([None, math.nan, 2.0, 3.0])) for _ in range(6)]
        rows = [{"val/loss": val, "test/loss": test} for val, test in losses]
        rows = [{key: value for key, value in row.items() if draw.random() < 0.8} for row in rows]
        lowest, expected = math.inf, math.nan
        for row in rows:
            if "test/loss" in row and row.get("val/loss") is not None and row["val/loss"] < lowest:
                lowest, expected = row["val/loss"], math.nan if row["test/loss"] is None else row["test/loss"]
        found = parse_metric("test/loss.at_best_val").of(rows)
        assert found == expected or (math.isnan(found) and math.isnan(expected))


@pytest.mark.parametrize("lost", [None, math.nan, math.inf])
def test_a_loss_that_was_not_finite_spoils_last_and_mean_but_not_the_best(lost):
    rows = [*ROWS, {"step": 5, "val/loss": lost}]
    assert math.isnan(Metric("val/loss", "last").of(rows))
    assert math.isnan(Metric("val/loss", "mean").of(rows))
    assert Metric("val/loss", "min").of(rows) == 2.5
    assert Metric("val/loss", "max").of(rows) == 3.0


@pytest.mark.parametrize("reducer", REDUCERS)
@pytest.mark.parametrize("rows", [[], [{"step": 1}], [{"step": 1, "val/loss": None}]])
def test_a_metric_of_nothing_finite_is_nan(reducer, rows):
    assert math.isnan(Metric("val/loss", reducer).of(rows))


def test_every_metric_reads_back_as_it_is_written():
    for key in SCALARS:
        for reducer in REDUCERS:
            metric = parse_metric(f"{key}.{reducer}")
            assert (metric.key, metric.reducer, str(metric)) == (key, reducer, f"{key}.{reducer}")
            assert metric.scalar is SCALARS[key]


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("val/los.min", "val/loss.min"),
        ("val/loss.minimum", "val/loss.min"),
        ("val/loss", "val/loss.min"),
        ("val_loss.min", "val/loss.min"),
        ("grad/norm.median", "grad/norm.mean"),
    ],
)
def test_an_unknown_metric_is_answered_with_what_exists_and_the_nearest(text, near):
    with pytest.raises(InputError, match=f"unknown metric '{text}'; did you mean {near}.* train/loss, .* .min, "):
        parse_metric(text)


def test_a_metric_like_no_other_is_answered_without_a_guess():
    with pytest.raises(InputError, match="unknown metric 'zzz'; must be one of"):
        parse_metric("zzz")
