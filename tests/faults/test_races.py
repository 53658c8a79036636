"""Many workers on one output folder: each run is trained once, whoever comes, dies or comes back."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from small import Small, make, rows_wrong
from tally import Tally

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Small:
    """Eight seeds of the small run."""
    return make(tmp_path_factory.mktemp("eight"), excerpt, seeds=range(8))


def fork_worker(small: Small, out: Path) -> int:
    child = os.fork()
    if child == 0:
        try:
            small.train(out)
            os._exit(0)
        finally:
            os._exit(1)
    return child


@pytest.mark.fault("a worker beside others on one output folder", sampled=True)
def test_workers_that_race_train_every_run_once(faults: Tally, eight: Small, tmp_path: Path) -> None:
    for number in faults.some(range(10), 1):
        out = tmp_path / str(number)
        workers = [fork_worker(eight, out) for _ in range(4)]
        for worker in workers:
            with faults.one():
                assert os.waitpid(worker, 0)[1] == 0
        attempts = [eight.run(out, index).read_status().attempts for index in range(8)]
        faults.saw("attempts at one run", max(attempts))
        assert attempts == [1] * 8
        eight.check(out)


@pytest.mark.fault("a worker killed beside others on one output folder", sampled=True)
def test_the_runs_of_killed_workers_are_taken_over(faults: Tally, eight: Small, tmp_path: Path) -> None:
    dice = random.Random(0)
    for number in faults.some(range(8), 1):
        out = tmp_path / str(number)
        workers = [fork_worker(eight, out) for _ in range(3)]
        for worker in workers:
            time.sleep(dice.uniform(0, 0.4))
            with faults.one():
                os.kill(worker, signal.SIGKILL)
                os.waitpid(worker, 0)
        assert os.waitpid(fork_worker(eight, out), 0)[1] == 0
        faults.saw("rows lost, doubled or changed", rows_wrong(eight, out))
        eight.check(out)
