"""Ranks without peers: one that is stopped, a terminal that closes, an impatient user, a launcher that is killed."""

import os
import signal
import time
from pathlib import Path

import pytest
from commands import GPT, Command, accelerate, runs_of, started, wait_for
from tiny import ENDLESS, study_of

pytestmark = pytest.mark.launch

TIMEOUT = 4.0
"""seconds without a heartbeat"""
SLACK = 15.0
"""seconds for polls and a busy machine"""
HANGS = """\
import time
from gpt.cli import main
from gpt.train.engines.replicated import ReplicatedEngine

train_step = ReplicatedEngine.train_step

def hanging(self, step, *more, **options):
    while step == 7 and self.config.model.norm_placement == "post":
        time.sleep(1)
    return train_step(self, step, *more, **options)

ReplicatedEngine.train_step = hanging
if __name__ == "__main__":
    main()
"""
"""gpt with runs whose training hangs while the process lives; spawned ranks import it too"""


@pytest.fixture
def arguments(tmp_path: Path, excerpt: Path) -> list[str | Path]:
    """A study of runs so long that none of them ends by itself here."""
    study = study_of(tmp_path, excerpt, ENDLESS)
    return ["study", "run", study, "--out", tmp_path / "out", "--timeout", f"{TIMEOUT:g}"]


def two_train(command: Command, folder: Path) -> list[int]:
    """Wait until two ranks train; their processes."""
    wait_for(lambda: sum(file.stat().st_size > 0 for file in folder.glob("out/runs/*/metrics.jsonl")) == 2, command)
    ranks = command.ranks()
    assert len(ranks) == 2
    return ranks


def states(folder: Path) -> list[str]:
    begun = [run for run in runs_of(folder / "out") if run.status_json.exists()]
    return sorted(run.read_status().state for run in begun)


def checkpoints(folder: Path) -> int:
    return len(list(folder.glob("out/runs/*/checkpoints/step-*")))


@pytest.mark.fault("a request to stop: Ctrl-C, SIGTERM, SIGUSR1, SIGHUP")
def test_a_closed_terminal_stops_every_rank_with_a_checkpoint(arguments: list[str | Path], tmp_path: Path) -> None:
    with started([*GPT, *arguments, "--processes", "2"], tmp_path) as command:
        two_train(command, tmp_path)
        os.killpg(command.process.pid, signal.SIGHUP)
        assert command.wait(60) == 75
        command.leaves_nothing()
    assert states(tmp_path) == ["preempted", "preempted"]
    assert checkpoints(tmp_path) == 2


@pytest.mark.fault("a rank that hangs")
def test_a_stopped_rank_is_killed_by_name_and_the_other_goes_on(arguments: list[str | Path], tmp_path: Path) -> None:
    with started([*GPT, *arguments, "--processes", "2"], tmp_path) as command:
        stopped, _ = two_train(command, tmp_path)
        os.kill(stopped, signal.SIGSTOP)
        wait_for(lambda: "is killed: no heartbeat for 4 s" in command.said, command, TIMEOUT + SLACK)
        wait_for(lambda: stopped not in command.running(), command, SLACK)
        command.process.send_signal(signal.SIGINT)
        assert command.wait(60) == 75
        command.leaves_nothing()
    assert states(tmp_path) == ["preempted", "running"]


@pytest.mark.fault("a command, launcher or supervisor killed")
def test_ranks_end_with_a_checkpoint_when_their_launcher_is_killed(arguments: list[str | Path], tmp_path: Path) -> None:
    with started([*accelerate("cpu"), *arguments], tmp_path) as command:
        two_train(command, tmp_path)
        command.process.kill()
        command.wait()
        command.leaves_nothing(SLACK)
    assert states(tmp_path) == ["preempted", "preempted"]
    assert checkpoints(tmp_path) == 2


@pytest.mark.fault("a rank that hangs")
def test_a_rank_whose_training_hangs_is_killed_by_name_after_a_request_to_stop(
    arguments: list[str | Path], tmp_path: Path
) -> None:
    script = tmp_path / "hangs.py"
    script.write_text(HANGS)
    with started([GPT[0], script, *arguments, "--processes", "2"], tmp_path) as command:
        two_train(command, tmp_path)
        time.sleep(TIMEOUT + 1)  # it gives signs of life
        assert len(command.ranks()) == 2, command.said
        command.process.send_signal(signal.SIGUSR1)
        assert command.wait(TIMEOUT + SLACK) == 75
        command.leaves_nothing()
    assert command.said.count("is killed: it has not ended 4 s after it was told to stop") == 1, command.said
    assert states(tmp_path) == ["preempted", "running"]


@pytest.mark.fault("a rank that hangs")
def test_a_second_interrupt_does_not_wait_for_a_rank_that_hangs(arguments: list[str | Path], tmp_path: Path) -> None:
    with started([*GPT, *arguments[:-2], "--processes", "2"], tmp_path) as command:
        stopped, _ = two_train(command, tmp_path)
        os.kill(stopped, signal.SIGSTOP)
        command.process.send_signal(signal.SIGINT)
        time.sleep(2)
        assert command.process.poll() is None
        command.process.send_signal(signal.SIGINT)
        assert command.wait(SLACK) == 75
        command.leaves_nothing()


@pytest.mark.fault("a rank that hangs")
def test_rank_0_of_a_launch_does_not_wait_for_a_rank_that_hangs(arguments: list[str | Path], tmp_path: Path) -> None:
    with started([*accelerate("cpu"), *arguments], tmp_path) as command:
        leader, stopped = two_train(command, tmp_path)
        os.kill(stopped, signal.SIGSTOP)
        os.kill(leader, signal.SIGTERM)  # it ends its own work and waits for the other
        assert command.wait(90) == 1
        command.leaves_nothing()
    assert "gpt: rank 1 of 2 was lost: no heartbeat for 4 s" in command.said


@pytest.mark.fault("a command, launcher or supervisor killed")
def test_ranks_that_are_still_starting_end_when_their_command_is_killed(
    arguments: list[str | Path], tmp_path: Path
) -> None:
    with started([*GPT, *arguments, "--processes", "2"], tmp_path) as command:
        wait_for(lambda: len(command.ranks()) == 2, command)
        command.process.kill()
        command.wait()
        command.leaves_nothing(2 * SLACK)
