"""What the detector makes of planted curves: docs/probes.md says what it misses and what it takes for what."""

from collections.abc import Iterator

import pytest
from planted import HEALTHY, PLANTED, outcome
from published import REPOSITORY

PAGE = (REPOSITORY / "docs/probes.md").read_text(encoding="utf-8")
RUNS, HEALTHY_RUNS = 20, 200


def rows() -> Iterator[list[str]]:
    yield ["curve", "event", "missed", "steps until found", "runs with other events", "runs"]
    yield ["---"] * 6
    yield ["healthy", *outcome(HEALTHY, range(1000, 1000 + HEALTHY_RUNS)).cells(HEALTHY), f"{HEALTHY_RUNS}"]
    for name, planted in PLANTED.items():
        yield [name, *outcome(planted, range(RUNS)).cells(planted), f"{RUNS}"]


@pytest.mark.slow
def test_the_page_says_what_is_missed_and_what_is_a_false_alarm() -> None:
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in rows())
    assert table in PAGE, f"docs/probes.md should hold:\n{table}"


def test_at_most_one_healthy_run_in_a_hundred_has_an_event() -> None:
    """On other runs than those of the table."""
    assert outcome(HEALTHY, range(5000, 5000 + HEALTHY_RUNS)).false <= HEALTHY_RUNS // 100


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_in_other_runs_is_found(name: str) -> None:
    found = outcome(PLANTED[name], range(100, 105))
    assert (found.missed, found.false) == (0, 0)
