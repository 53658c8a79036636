"""Claims about simulated error rates: the page shows those that were published, and a small run agrees with them."""

import itertools
import json
import math

import null_studies
import numpy as np
import pytest
import simulation

from gpt.analysis.statistics.verdict import verdict

ROWS = json.loads(simulation.PLACE.read_text(encoding="utf-8")) if simulation.PLACE.exists() else []
SYMMETRIC = ("normal", "t with 3 degrees of freedom")


def allowed(rate, contrasts):
    """Four standard errors above a rate."""
    return rate + 4 * math.sqrt(rate * (1 - rate) / contrasts)


def test_the_page_shows_what_was_simulated() -> None:
    assert simulation.update(simulation.PAGE, ROWS) == simulation.PAGE.read_text(encoding="utf-8")


def test_everything_was_simulated() -> None:
    found = {(row["differences"], *row["looks"]) for row in ROWS}
    looks = [*((n,) for n in simulation.PAIRS), simulation.LOOKS]
    assert found == {(name, *each) for name in simulation.draws() for each in looks}


@pytest.mark.parametrize("size", simulation.FAMILIES)
def test_symmetric_differences_give_at_most_five_per_cent_false_verdicts_with_looks_and_without(size) -> None:
    for row in ROWS:
        if row["differences"] in SYMMETRIC:
            families = row["contrasts"] // size
            assert row[str(size)]["false different"] <= allowed(0.05, families), row
            assert row[str(size)]["false equivalent"] <= allowed(0.05, families), row


def test_looks_save_runs() -> None:
    for row in ROWS:
        if len(row["looks"]) > 1:
            assert row["1"]["pairs with one"] < 20
            assert row["1"]["pairs without a difference"] < 20


def test_intervals_of_symmetric_differences_cover() -> None:
    for row in ROWS:
        if row["differences"] in SYMMETRIC and len(row["looks"]) == 1:
            assert row["t interval covers"] >= 1 - allowed(0.05, row["contrasts"])
            assert row["all intervals cover"] >= 1 - allowed(0.05, 50)


def test_a_small_run_agrees_with_what_was_published() -> None:
    rng = np.random.default_rng(10)
    rows = simulation.simulate("normal", simulation.draws()["normal"], 240, rng)
    for row in rows:
        (same,) = [each for each in ROWS if (each["differences"], each["looks"]) == ("normal", row["looks"])]
        for key in ("false different", "power"):
            rate = same["1"][key]
            error = math.sqrt(max(rate * (1 - rate), 0.01) * (1 / row["contrasts"] + 1 / same["contrasts"]))
            assert abs(row["1"][key] - rate) <= 4 * error, (key, row, same)


def test_recorded_differences_are_those_of_the_published_studies() -> None:
    found = simulation.recorded()
    assert len(found) >= 50
    assert abs(found.mean()) < 1e-12
    assert found.std() == pytest.approx(1.0)


NULL = [null_studies.Row(**row) for row in json.loads(null_studies.PLACE.read_text(encoding="utf-8"))]


def test_the_page_shows_the_null_studies() -> None:
    assert null_studies.update(null_studies.PAGE, NULL) == null_studies.PAGE.read_text(encoding="utf-8")
    found = {(row.pairs, row.contrasts, row.failing) for row in NULL}
    assert found == set(itertools.product(null_studies.PAIRS, null_studies.CONTRASTS, null_studies.FAILING))


def test_one_variant_under_several_names_is_called_different_in_at_most_five_per_cent_of_studies() -> None:
    for row in NULL:
        assert row.false_different <= allowed(0.05, row.studies), row
    assert sum(row.false_different * row.studies for row in NULL) / sum(row.studies for row in NULL) <= 0.05


def test_a_few_null_studies_agree_with_what_was_published() -> None:
    row = null_studies.simulate(8, 1, 0.1, 60, null_studies.recorded())
    (same,) = [each for each in NULL if (each.pairs, each.contrasts, each.failing) == (8, 1, 0.1)]
    assert row.false_different <= allowed(same.false_different, row.studies)


def test_the_simulation_decides_by_the_shipped_verdict() -> None:
    assert simulation.verdict is verdict
