"""Ranks that die, stop or raise in the middle of a run: what is said, what is left, and that running again mends it."""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import (
    GPT,
    Command,
    accelerate,
    records,
    run_command,
    runs_of,
    started,
    wait_for,
)
from tiny import study_of, write_run

from gpt.commands.studies import open_study
from gpt.commands.workspace import open_corpora
from gpt.records.run_folder import RunFolder, State
from gpt.study.folder import run_at

pytestmark = pytest.mark.launch

Saw = Callable[[str, float], None]
TIMEOUT = 6.0
"""seconds that are given to a rank that does not answer"""
SLACK = 15.0
"""seconds for everything that is not waiting: polls, imports of the report, a busy machine"""
LAUNCHER_SECONDS = 40.0
"""what torch's launcher gives the ranks that are left before it kills them, and a little more"""
ON_ANY_RANKS = {
    "model": {"dropout": 0.1},
    "train": {"micro_batch_size": 4, "reduction": "rank_invariant", "eval_every": 50},
    "probes": {"every": 0},
}
"""a run whose bits do not depend on the number of ranks"""


# A rank that is gone


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    """A run whose bits do not depend on the number of ranks, long enough to be caught in the middle."""
    path = tmp_path_factory.mktemp("run") / "run.yaml"
    return write_run(path, excerpt, ON_ANY_RANKS, optim={"lr": "3e-3"}, train={"steps": 300})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, run_file: Path) -> Path:
    """What one process leaves that nothing disturbs."""
    out = tmp_path_factory.mktemp("whole") / "out"
    code, said = run_command([*GPT, "train", run_file, "--out", out], out.parent)
    assert code == 0, said
    return out


def lose(command: Command, out: Path, rank: int, how: signal.Signals) -> float:
    """Send a signal to one of two ranks in the middle of a run; return when."""
    wait_for(lambda: list(out.glob("runs/*/checkpoints/step-*")), command)
    ranks = command.ranks()
    assert len(ranks) == 2, command.running()
    os.kill(ranks[rank], how)
    return time.monotonic()


def check_mended(run_file: Path, out: Path, whole: Path) -> None:
    """The same run again resumes from the last checkpoint and leaves what an undisturbed run leaves."""
    assert list(out.glob("runs/*/checkpoints/step-*"))
    code, said = run_command([*GPT, "train", run_file, "--out", out], out.parent)
    assert code == 0, said
    assert records(out) == records(whole)
    assert runs_of(out)[0].read_status().attempts == 2


@pytest.mark.fault("a rank killed or stopped")
@pytest.mark.parametrize(
    ("rank", "how"),
    [
        pytest.param(1, signal.SIGKILL, id="follower-killed"),
        pytest.param(0, signal.SIGKILL, id="leader-killed"),
        pytest.param(1, signal.SIGSTOP, id="follower-stopped"),
        pytest.param(0, signal.SIGSTOP, id="leader-stopped"),
    ],
)
def test_a_lost_rank_ends_the_run_soon_by_name_and_running_again_mends_it(
    run_file: Path, whole: Path, tmp_path: Path, rank: int, how: signal.Signals, saw: Saw
) -> None:
    out = tmp_path / "out"
    arguments = ["train", run_file, "--out", out, "--ranks-per-run", "2", "--timeout", f"{TIMEOUT:g}"]
    with started([*GPT, *arguments], tmp_path) as command:
        lost = lose(command, out, rank, how)
        code = command.wait()
        took = time.monotonic() - lost
        command.leaves_nothing()
    assert code == 3, command.said
    run = runs_of(out)[0]
    of = re.escape(f"it was training run seed 0, run {run.root.name}")
    told = (
        rf"^gpt: rank {1 - rank}: rank {rank} of 2 was lost: (its process is gone|no answer for {TIMEOUT:g} s); {of}$"
    )
    assert len(re.findall(told, command.said, re.MULTILINE)) == 1, command.said
    assert f"not done: run seed 0, run {run.root.name}: " in command.said
    if how is signal.SIGSTOP:
        assert f"gpt: rank {rank} is killed: no heartbeat for {TIMEOUT:g} s" in command.said
    # a killed rank's connections break at once, a stopped one's when it is killed after the timeout
    saw("longest wait, seconds", round(took, 1))
    assert took < (TIMEOUT if how is signal.SIGSTOP else 0) + SLACK, command.said
    check_mended(run_file, out, whole)


@pytest.mark.fault("a rank of a launch killed or stopped")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_rank_of_a_launch_that_is_lost_ends_the_launch(
    run_file: Path, whole: Path, tmp_path: Path, how: signal.Signals, saw: Saw
) -> None:
    out = tmp_path / "out"
    with started(
        [*accelerate("cpu"), "train", run_file, "--out", out, "--timeout", f"{TIMEOUT:g}"], tmp_path
    ) as command:
        lost = lose(command, out, 1, how)
        code = command.wait()
        took = time.monotonic() - lost
        command.leaves_nothing()
    assert code != 0
    assert runs_of(out)[0].root.name in command.said or how is signal.SIGKILL  # where the launcher is faster
    saw("longest wait, seconds", round(took, 1))
    assert took < 2 * TIMEOUT + LAUNCHER_SECONDS + SLACK, command.said
    check_mended(run_file, out, whole)


@pytest.mark.fault("a row of ranks lost beside another")
def test_a_row_that_is_lost_leaves_its_runs_to_the_other_row(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--processes", "4", "--ranks-per-run", "2", "--timeout", f"{TIMEOUT:g}"]
    with started([*GPT, "study", "run", study, "--out", out, *options], tmp_path) as command:
        wait_for(lambda: list(out.glob("runs/*/metrics.jsonl")), command)
        ranks = command.ranks()
        assert len(ranks) == 4
        os.kill(ranks[3], signal.SIGKILL)
        code = command.wait()
        command.leaves_nothing()
    states = sorted(run.read_status().state for run in runs_of(out))
    assert (code, states) == (3, ["done"] * 5 + ["failed"]), command.said
    assert command.said.count("rank 3 of 4 was lost: its process is gone") == 2, "by its row, and in the summary"
    code, said = run_command([*GPT, "study", "run", study, "--out", out, *options], tmp_path)
    assert code == 0, said
    assert {run.read_status().state for run in runs_of(out)} == {"done"}


# An exception

RAISES = """\
import os

from gpt.cli import main
from gpt.train.engines.{module} import {engine}

train_step = {engine}.train_step

def raising(self, step, *more, **options):
    at_fault = self.config.model.norm_placement == "post" and 1 in self.seeds
    if step == 7 and at_fault and self.ranks.rank == {rank}:
        raise {error}
    return train_step(self, step, *more, **options)

{engine}.train_step = raising
if __name__ == "__main__":
    main()
"""
"""gpt with one run, post seed 1, that one rank cannot train; spawned ranks import it too"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    """Pre-LN against Post-LN, three seeds, 40 steps."""
    return study_of(tmp_path_factory.mktemp("study"), excerpt, ON_ANY_RANKS, seeds=3)


def faulty(folder: Path, rank: int, error: str = "ValueError('made up')", engine: str = "ReplicatedEngine") -> Path:
    """A script that is gpt but for a fault in one rank."""
    module = {"ReplicatedEngine": "replicated", "ZeROEngine": "zero"}[engine]
    path = folder / "faulty.py"
    path.write_text(RAISES.format(module=module, engine=engine, rank=rank, error=error))
    return path


def states(out: Path) -> dict[str, State]:
    """Each run's state by its variant and seed."""
    return {name: run.read_status().state for name, run in named(out).items()}


def named(out: Path) -> dict[str, RunFolder]:
    """The runs by variant and seed."""
    planned = json.loads((out / "studies/tiny/runs.json").read_text())["runs"]
    return {f"{run['variant']} {run['seed']}": RunFolder(out / "runs" / run["run"]) for run in planned}


def check_one_at_fault(out: Path, said: str, who: str) -> None:
    """One run failed with a traceback that leads to the fault, the others are done."""
    assert states(out) == dict.fromkeys(named(out), "done") | {"post 1": "failed"}, said
    run = named(out)["post 1"]
    assert f"not done: post seed 1, run {run.root.name}: {who}ValueError: made up (see failure.txt)" in said
    assert said.count("not done: ") == 1
    failure = run.failure.read_text()
    assert failure.startswith("Traceback")
    assert failure.endswith("ValueError: made up\n")
    assert "in raising" in failure


@pytest.mark.fault("an exception in one rank")
@pytest.mark.parametrize("rank", [pytest.param(0, id="leader"), pytest.param(1, id="follower")])
def test_an_exception_in_one_rank_fails_its_run_alone(study: Path, tmp_path: Path, rank: int) -> None:
    out = tmp_path / "out"
    arguments = ["study", "run", study, "--out", out, "--seeds", "2", "--processes", "2", "--ranks-per-run", "2"]
    code, said = run_command([GPT[0], faulty(tmp_path, rank), *arguments], tmp_path)
    assert code == 3, said
    assert "was lost" not in said
    check_one_at_fault(out, said, f"rank {rank} of 2: ")
    assert [run.read_status().attempts for run in named(out).values()] == [1] * 4


@pytest.mark.fault("a rank that exits")
@pytest.mark.parametrize("code", [0, 7])
def test_a_rank_that_exits_is_lost_by_name_and_running_again_mends_it(study: Path, tmp_path: Path, code: int) -> None:
    out = tmp_path / "out"
    script = faulty(tmp_path, rank=1, error=f"SystemError(os._exit({code}))")
    arguments = ["study", "run", study, "--out", out, "--seeds", "2", "--processes", "2", "--ranks-per-run", "2"]
    ended, said = run_command([GPT[0], script, *arguments, "--timeout", f"{TIMEOUT:g}"], tmp_path)
    assert ended == 3, said
    assert "rank 1 of 2 was lost: its process is gone" in said
    assert run_command([*GPT, *arguments], tmp_path)[0] == 0
    assert set(states(out).values()) == {"done"}


@pytest.mark.fault("an exception in one run of a seed batch")
@pytest.mark.parametrize(("size", "ranks"), [("3", "1"), ("2", "2")])
def test_one_bad_run_of_a_seed_batch_fails_alone(study: Path, tmp_path: Path, size: str, ranks: str) -> None:
    out = tmp_path / "out"
    command = [GPT[0], faulty(tmp_path, 0), "study", "run", study, "--out", out, "--seeds-per-process", size]
    code, said = run_command([*command, "--processes", ranks, "--ranks-per-run", ranks], tmp_path)
    assert code == 3, said
    check_one_at_fault(out, said, "rank 0 of 2: " if ranks == "2" else "")


@pytest.mark.fault("an exception in one rank of a launch")
@pytest.mark.parametrize(("file", "rank"), [("cpu", 1), ("cpu", 0), ("zero3", 1)])
def test_an_exception_in_one_rank_of_a_launch_fails_its_run_alone(
    study: Path, tmp_path: Path, file: str, rank: int
) -> None:
    out = tmp_path / "out"
    script = faulty(tmp_path, rank, engine="ZeROEngine" if file == "zero3" else "ReplicatedEngine")
    command = [*accelerate(file)[:-2], script, "study", "run", in_fast_mode(study, tmp_path), "--out", out]
    code, said = run_command([*command, "--ranks-per-run", "2", "--seeds", "2"], tmp_path)
    assert code == 1, said
    assert re.search(r"exitcode +: 3 ", said), said
    check_one_at_fault(out, said, f"rank {rank} of 2: ")


def in_fast_mode(study: Path, folder: Path) -> Path:
    """The study for engines that add gradients up themselves."""
    text = (study.parent / "run.yaml").read_text()
    (folder / "run.yaml").write_text(text.replace("reduction: rank_invariant", "reduction: fast"))
    (folder / "study.yaml").write_text(study.read_text())
    return folder / "study.yaml"


@pytest.mark.fault("a run that cannot be written to, on several ranks")
def test_a_run_that_cannot_be_written_fails_alone_by_its_leaders_hand(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    broken = next(
        run_at(out, run.fingerprint)
        for run in open_study(study, 2, open_corpora())[1]
        if (run.variant, run.seed) == ("post", 1)
    )
    broken.metrics.mkdir(parents=True)
    options = ["--seeds", "2", "--processes", "2", "--ranks-per-run", "2"]
    code, said = run_command([*GPT, "study", "run", study, "--out", out, *options], tmp_path)
    assert code == 3, said
    assert states(out) == dict.fromkeys(named(out), "done") | {"post 1": "failed"}
    assert f"not done: post seed 1, run {broken.root.name}: rank 0 of 2: " in said
    assert str(broken.metrics) in said
