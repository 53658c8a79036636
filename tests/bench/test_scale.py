"""The simulation of many GPUs: batches are placed as real ranks take them, and its shares add up."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as dist

from gpt.bench.scale import Costs, FileSystem, place, simulate

COSTS = Costs(start_up=10.0, files=3000, steps=90.0, evaluation=6.0, host=3.0, commits=1.0, committed=40)
FREE = FileSystem(1e9, 1e9)


def test_a_batch_goes_to_whoever_is_free_first() -> None:
    taken, ends = place([5.0, 2.0, 7.0, 6.0, 2.0], 2, 10.0)
    assert taken == [0, 1, 1, 0, 1]
    assert ends == [21.0, 21.0]


RANK = """
import sys, time, json
from datetime import timedelta
import torch.distributed as dist
from gpt.runner.ranks.group import RankGroup, RankPosition
rank, port, durations = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=60))
group = RankGroup(RankPosition(rank, 2, 1), store, "gloo", 60.0, lambda: False)
group.init()
store.add("ready", 1)
while int(store.add("ready", 0)) < 2:
    time.sleep(0.01)
began, taken = time.monotonic(), []
for number in group.take(len(durations)):
    taken.append(number)
    time.sleep(durations[number])
print(json.dumps([taken, time.monotonic() - began]), flush=True)
group.destroy()
"""


def test_real_ranks_take_batches_as_simulated() -> None:
    """Two processes with the runner's own counter, whose batches are waits."""
    durations = [1.0, 0.4, 1.4, 1.4, 0.8]
    taken, ends = place(durations, 2, 0.0)
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=60))
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(store.port), json.dumps(durations)],
            env={"PYTHONPATH": ":".join(sys.path), "PATH": ""}, stdout=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    told = [json.loads(rank.communicate(timeout=120)[0]) for rank in ranks]
    simulated = [[batch for batch, process in enumerate(taken) if process == rank] for rank in range(2)]
    assert sorted(of for of, _ in told) == sorted(simulated)
    assert max(seconds for _, seconds in told) >= max(ends)


def test_shares_add_up_and_whole_rounds_leave_nobody_idle() -> None:
    even = simulate(COSTS, 8, 16, 10, FREE)
    assert even.seconds == pytest.approx(10 + 2 * 100)
    shares = (even.steps, even.start_up, even.evaluation, even.host, even.commits, even.idle)
    assert sum(shares) == pytest.approx(1)
    assert (even.idle, even.runs, even.first_bottleneck) == (0, 160, "evaluation")
    odd = simulate(COSTS, 8, 17, 10, FREE)
    assert odd.seconds == pytest.approx(10 + 3 * 100)
    assert odd.idle == pytest.approx(7 * 100 / (8 * 310))
    assert odd.first_bottleneck == "idle"


def test_a_file_system_that_all_share_bounds_start_up_and_commits() -> None:
    slow = FileSystem(opens_per_second=50_000, commits_per_second=100)
    few, many = (simulate(COSTS, gpus, 2 * gpus, 10, slow) for gpus in (8, 1024))
    assert few.seconds == pytest.approx(210), "a single process's own speed"
    assert many.start_up * many.seconds == pytest.approx(1024 * 3000 / 50_000)
    assert many.commits > 0.5
    assert many.first_bottleneck == "commits"
    assert many.seconds == pytest.approx(1024 * 3000 / 50_000 + 2 * 1024 * 40 / 100)


def test_another_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text('{"config": {}}')
    command = [sys.executable, "-m", "gpt.bench.scale", str(tmp_path / "bench.json")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "must be what gpt bench --json of this version printed: KeyError('steps')" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_costs_are_those_of_a_bench_document(repository: Path, tmp_path: Path) -> None:
    def spread(seconds: float) -> dict[str, float]:
        return {"median": seconds}

    bench = {
        "run": "r", "config": {"train": {"steps": 100}},
        "machine": {"device": "cpu", "gpu": None, "cpu": "c", "torch": "t"},
        "steps": [
            {"seeds": 1, "deterministic": False, "seconds": spread(0.1)},
            {"seeds": 4, "deterministic": False, "seconds": spread(0.2)},
            {"seeds": 4, "deterministic": True, "seconds": spread(0.01)},
            {"seeds": 16, "deterministic": False, "seconds": spread(0.01)},
        ],
        "parts": [
            {"name": "evaluation", "times": 3, "seconds": spread(1.0)},
            {"name": "all probes", "times": 2, "seconds": spread(1.0)},
            {"name": "probe attention", "times": 2, "seconds": spread(9.0)},
            {"name": "recording 50 steps", "times": 2, "seconds": spread(0.5)},
            {"name": "checkpoint", "times": 4, "seconds": spread(0.25)},
            {"name": "sample", "times": 1, "seconds": spread(3.0)},
        ],
        "start_up": {"seconds": spread(7.0), "files": 1234},
    }  # fmt: skip
    eight = Costs.of(bench, 8)
    assert eight == Costs(start_up=7.0, files=1234, steps=100 * 2 * 0.2, evaluation=5 * 4.0, host=8 * 1.0 + 3.0 * 4,
                          commits=8 * 1.0, committed=4 * 8)  # fmt: skip
    (tmp_path / "bench.json").write_text(json.dumps(bench))
    command = [sys.executable, "-m", "gpt.bench.scale", str(tmp_path / "bench.json"), "--gpus", "8,64"]
    said = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout
    assert len(said.splitlines()) == 3
    told = json.loads(subprocess.run([*command, "--json"], cwd=repository, capture_output=True, check=True).stdout)
    assert [one["gpus"] for one in told["simulated"]] == [8, 64]
