"""Seeds together are measured once, as far as more are worth it, and what was picked holds for a study that grows."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from reference import run_config
from tiny import SMALLEST, write_run

from gpt.bench.seeds import most_that_fit, time_seeds
from gpt.bench.spread import QUICK
from gpt.errors import InputError
from gpt.fingerprint import fingerprint
from gpt.records.files import read_json, write_json
from gpt.run_file import read_run_file
from gpt.runner.corpora import Corpora
from gpt.runner.memory import peak_memory
from gpt.runner.picks import pick_seeds, seed_picks
from gpt.runner.workspace import Workspace
from gpt.study.plan import PlannedRun

CPU = torch.device("cpu")


def planned(seed: int, **model: object) -> PlannedRun:
    config = run_config(**model).model_copy(update={"seed": seed})
    return PlannedRun("a", (), seed, config, fingerprint(config, "data"))


class Clock:
    """Says how long a step takes: as long for few seeds as for one, then with their number."""

    def __init__(self, seconds: Mapping[int, float], memory: int = 1000):
        self.seconds, self.memory, self.asked = seconds, memory, list[int]()

    def __call__(self, _run: PlannedRun, count: int) -> list[float]:
        self.asked.append(count)
        if count > self.memory:
            raise torch.OutOfMemoryError("no memory")
        return [self.seconds[count], self.seconds[count] * 1.01, self.seconds[count] * 30]


FLAT_THEN_LINEAR = {1: 1.0, 2: 1.0, 4: 1.0, 8: 2.0, 10: 2.5, 16: 4.0}


@pytest.mark.parametrize(
    ("limit", "memory", "picked", "asked"),
    [
        (16, 1000, 4, [1, 2, 4, 8]),
        (4, 1000, 4, [1, 2, 4]),
        (10, 2, 2, [1, 2, 4]),
        (2, 1000, 2, [1, 2]),
        (1, 1000, 1, []),
    ],
)
def test_seeds_are_doubled_while_that_is_worth_it_and_fits(
    limit: int, memory: int, picked: int, asked: list[int], tmp_path: Path
) -> None:
    clock = Clock(FLAT_THEN_LINEAR, memory)
    found = pick_seeds([planned(0)], tmp_path, CPU, lambda: limit, clock)
    assert (found.seeds, found.limit, clock.asked) == (picked, limit, asked)


def test_a_pick_holds_for_all_runs_and_those_that_come_later(tmp_path: Path) -> None:
    runs = [planned(0), planned(1)]
    first = pick_seeds(runs, tmp_path, CPU, lambda: 16, Clock(FLAT_THEN_LINEAR))
    assert (first.seeds, first.measured_on) == (4, runs[0].fingerprint)

    def never(*_: object) -> int:
        raise AssertionError("measured again")

    again = pick_seeds([*runs, planned(2)], tmp_path, CPU, never, never)  # type: ignore[arg-type]
    assert (again.seeds, again.seconds) == (4, first.seconds)
    pick_seeds([planned(0, norm_placement="post")], tmp_path, CPU, lambda: 1, never)  # type: ignore[arg-type]
    assert [(pick.seeds, len(pick.runs)) for pick in seed_picks(tmp_path).read()] == [(4, 3), (1, 1)]


def test_another_device_is_measured_and_a_corrupt_file_refused(tmp_path: Path) -> None:
    pick_seeds([planned(0)], tmp_path, CPU, lambda: 16, Clock(FLAT_THEN_LINEAR))
    found = read_json(seed_picks(tmp_path).path)
    found["picks"][0]["device"] = "NVIDIA H100"
    write_json(seed_picks(tmp_path).path, found)
    assert pick_seeds([planned(0)], tmp_path, CPU, lambda: 2, Clock(FLAT_THEN_LINEAR)).seeds == 2
    assert len(seed_picks(tmp_path).read()) == 2
    seed_picks(tmp_path).path.write_text('{"picks": 3}')
    with pytest.raises(InputError, match=r"seed_picks.json: picks: got 3"):
        seed_picks(tmp_path).read()


def test_real_steps_are_timed_and_the_largest_shape_bounds_what_fits(excerpt: Path, tmp_path: Path) -> None:
    path = write_run(tmp_path / "run.yaml", excerpt, SMALLEST)
    small, large = read_run_file(path), read_run_file(path, ["--model.width=64", "--train.step=auto"])
    workspace = Workspace(tmp_path, Corpora(tmp_path), CPU)
    runs = [PlannedRun("a", (), 0, config, fingerprint(config, "data")) for config in (small, large)]
    samples = time_seeds(runs[1], 3, workspace, QUICK)
    assert len(samples) == QUICK.rounds
    assert min(samples) > 0
    vocabulary = workspace.corpora.load(large).tokenizer.vocabulary_size
    memory = 2 * peak_memory(large, vocabulary, 6)
    assert most_that_fit(runs, workspace, memory) == most_that_fit(runs[1:], workspace, memory)
    assert 6 < most_that_fit(runs, workspace, memory) < most_that_fit(runs[:1], workspace, memory)
