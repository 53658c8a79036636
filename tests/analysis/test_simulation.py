"""Claims about simulated error rates: the page shows those that were published, and a small run agrees with them."""

import json
import math

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


def test_the_simulation_decides_by_the_shipped_verdict() -> None:
    assert simulation.verdict is verdict
