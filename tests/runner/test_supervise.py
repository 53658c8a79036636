"""`gpt launch`: requests to stop, exit codes and the end of everything, with the real launcher."""

import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from commands import GPT, LAUNCH, Command, launch, run_command, runs_of, started, wait_for
from tiny import ENDLESS, study_of

pytestmark = pytest.mark.launch

GRACE = 6.0
"""seconds given to ranks that were told to stop"""
SLACK = 30.0
"""seconds for everything that is not waiting: polls, imports, a busy machine"""


@pytest.fixture
def long(tmp_path: Path, excerpt: Path) -> list[str | Path]:
    """A study of runs so long that none of them ends by itself here."""
    return ["study", "run", study_of(tmp_path, excerpt, ENDLESS), "--out", tmp_path / "out"]


@pytest.fixture
def short(tmp_path: Path, excerpt: Path) -> list[str | Path]:
    return ["study", "run", study_of(tmp_path, excerpt), "--out", tmp_path / "out"]


def ranks_training(command: Command, folder: Path, count: int = 2) -> list[int]:
    """Wait until as many runs are trained as there are ranks; the ranks' processes."""
    wait_for(lambda: sum(file.stat().st_size > 0 for file in folder.glob("out/runs/*/metrics.jsonl")) == count, command)
    ranks = command.ranks()
    assert len(ranks) >= count, command.running()
    return ranks


def launcher(command: Command) -> int:
    (pid,) = [pid for pid, words in command.running().items() if "accelerate.commands.launch" in words]
    return pid


def states(folder: Path) -> list[str]:
    if not (folder / "out/runs").exists():
        return []
    begun = [run for run in runs_of(folder / "out") if run.status_json.exists()]
    return sorted(run.read_status().state for run in begun)


def check_stopped(command: Command, folder: Path, code: int = 75) -> None:
    """Ended in order: every rank has a checkpoint, the launcher has nothing to complain of, nothing runs on."""
    assert command.wait() == code, command.said
    command.leaves_nothing(0)
    check_saved(folder)
    assert "Traceback" not in command.said
    assert command.said.count("stopped on request; run the same command again to resume") == 1, command.said


def check_saved(folder: Path) -> None:
    assert states(folder) == ["preempted", "preempted"]
    assert len(list(folder.glob("out/runs/*/checkpoints/step-*"))) == 2


# Requests to stop


@pytest.mark.fault("a request to stop: Ctrl-C, SIGTERM, SIGUSR1, SIGHUP")
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGUSR1,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGTERM,
    ],
)
def test_a_signal_stops_every_rank_with_a_checkpoint(
    long: list[str | Path], tmp_path: Path, number: signal.Signals
) -> None:
    with started([*launch("cpu"), *long], tmp_path) as command:
        ranks_training(command, tmp_path)
        command.process.send_signal(number)
        check_stopped(command, tmp_path)


@pytest.mark.fault("a request to stop: Ctrl-C, SIGTERM, SIGUSR1, SIGHUP")
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_to_every_process_of_a_launch_stops_it_no_less_in_order(
    long: list[str | Path], tmp_path: Path, number: signal.Signals
) -> None:
    with started([*launch("cpu"), *long], tmp_path) as command:
        ranks_training(command, tmp_path)
        for pid in command.running():
            os.kill(pid, number)
        check_stopped(command, tmp_path)


@pytest.mark.fault("a request to stop: Ctrl-C, SIGTERM, SIGUSR1, SIGHUP")
def test_a_request_that_comes_while_ranks_are_starting_is_kept_for_them(long: list[str | Path], tmp_path: Path) -> None:
    with started([*launch("cpu"), *long], tmp_path) as command:
        wait_for(lambda: len(command.ranks()) == 2, command)
        time.sleep(1)  # they import what they need
        command.process.send_signal(signal.SIGTERM)
        assert command.wait() == 75
        command.leaves_nothing(0)
    assert "Traceback" not in command.said
    assert set(states(tmp_path)) <= {"preempted"}


def test_a_launch_that_is_stopped_before_it_has_ranks_ends_at_once(long: list[str | Path], tmp_path: Path) -> None:
    with started([*launch("cpu"), *long], tmp_path) as command:
        wait_for(lambda: "gpt: starts" in command.said, command)
        command.process.send_signal(signal.SIGTERM)
        assert command.wait(SLACK) == 75
        command.leaves_nothing(0)
    assert "gpt: stopped before any rank had begun\n" in command.said


@pytest.mark.parametrize("distributed_type", ["'NO'", "MULTI_GPU"])
def test_one_process_is_told_like_several(long: list[str | Path], tmp_path: Path, distributed_type: str) -> None:
    file = tmp_path / "one.yaml"
    text = (LAUNCH / "one.yaml").read_text()
    file.write_text(text.replace("distributed_type: MULTI_GPU", f"distributed_type: {distributed_type}"))
    with started([*GPT, "launch", file, *long, "--processes", "2"], tmp_path) as command:
        ranks_training(command, tmp_path)
        command.process.send_signal(signal.SIGTERM)
        check_stopped(command, tmp_path)


def test_ranks_of_deepspeed_are_told_too(long: list[str | Path], tmp_path: Path) -> None:
    with started([*launch("zero3"), *long], tmp_path) as command:
        ranks_training(command, tmp_path, count=1)
        command.process.send_signal(signal.SIGTERM)
        assert command.wait() == 75
        command.leaves_nothing(0)
    assert states(tmp_path) == ["preempted"]


def test_a_second_interrupt_kills_at_once(long: list[str | Path], tmp_path: Path) -> None:
    with started([*launch("cpu"), *long], tmp_path) as command:
        os.kill(ranks_training(command, tmp_path)[1], signal.SIGSTOP)
        command.process.send_signal(signal.SIGINT)
        time.sleep(2)
        assert command.process.poll() is None
        command.process.send_signal(signal.SIGINT)
        assert command.wait(SLACK) == 75
        command.leaves_nothing(0)
    assert "Traceback" not in command.said


@pytest.mark.fault("a rank that hangs")
def test_a_rank_that_does_not_end_is_killed_by_name_after_the_grace(long: list[str | Path], tmp_path: Path) -> None:
    words = launch("cpu")
    with started([*words[:-1], "--grace", f"{GRACE:g}", words[-1], *long], tmp_path) as command:
        os.kill(ranks_training(command, tmp_path)[1], signal.SIGSTOP)
        command.process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        assert command.wait(GRACE + SLACK) == 75
        assert time.monotonic() - told >= GRACE
        command.leaves_nothing(0)
    assert f"gpt: rank 1 is killed: it has not ended {GRACE:g} s after it was told to stop\n" in command.said
    assert "Traceback" not in command.said


def two_machines(*words: str | Path) -> list[list[str | Path]]:
    """The commands of two machines, both of them this one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    place = ["--main_process_ip", "127.0.0.1", "--main_process_port", port, "--machine_rank"]
    return [[*launch("two_machines", *place, rank), *words] for rank in "01"]


def test_a_request_on_one_machine_stops_a_run_on_both(long: list[str | Path], tmp_path: Path) -> None:
    first, second = two_machines(*long, "--ranks-per-run", "2")
    with started(first, tmp_path) as leader, started(second, tmp_path) as follower:
        wait_for(lambda: any(f.stat().st_size for f in tmp_path.glob("out/runs/*/metrics.jsonl")), leader)
        follower.process.send_signal(signal.SIGTERM)
        assert (leader.wait(), follower.wait()) == (75, 75), leader.said + follower.said
        leader.leaves_nothing(0)
        follower.leaves_nothing(0)
    assert states(tmp_path) == ["preempted"]
    assert "Traceback" not in leader.said + follower.said


def test_machines_that_run_different_commands_end_both_with_2(long: list[str | Path], tmp_path: Path) -> None:
    (first, _), (_, second) = two_machines(*long), two_machines(*long, "--seeds", "3")
    port = second.index("--main_process_port") + 1
    second[port] = first[port]
    with started(first, tmp_path) as leader, started(second, tmp_path) as follower:
        assert (leader.wait(), follower.wait()) == (2, 2), leader.said + follower.said
    for command in (leader, follower):
        assert len(command.said.splitlines()) == 2, command.said
        assert "gpt: ranks differ in runs; all ranks of a launch must be alike" in command.said


# A process that is killed


@pytest.mark.fault("a command, launcher or supervisor killed")
@pytest.mark.parametrize("file", ["cpu", "one"])
def test_a_killed_supervisor_leaves_no_process_and_every_checkpoint(
    long: list[str | Path], tmp_path: Path, file: str
) -> None:
    with started([*launch(file), *long], tmp_path) as command:
        ranks_training(command, tmp_path)
        command.process.kill()
        command.wait()
        command.leaves_nothing(SLACK)
    check_saved(tmp_path)


@pytest.mark.fault("a command, launcher or supervisor killed")
@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.5, 3.0])
def test_a_supervisor_killed_while_its_ranks_are_starting_leaves_no_process(
    long: list[str | Path], tmp_path: Path, seconds: float
) -> None:
    with started([*launch("cpu"), *long], tmp_path) as command:
        wait_for(lambda: len(command.ranks()) == 2, command)
        time.sleep(seconds)
        command.process.kill()
        command.wait()
        command.leaves_nothing(SLACK)


@pytest.mark.fault("a command, launcher or supervisor killed")
def test_a_killed_launcher_is_said_and_its_ranks_stop_in_order(long: list[str | Path], tmp_path: Path) -> None:
    with started([*launch("cpu"), *long], tmp_path) as command:
        ranks_training(command, tmp_path)
        os.kill(launcher(command), signal.SIGKILL)
        check_stopped(command, tmp_path)
    assert "gpt: the launcher was killed by SIGKILL\n" in command.said


@pytest.mark.fault("a rank of a launch killed or stopped")
def test_a_killed_rank_makes_the_launch_fail_by_name(long: list[str | Path], tmp_path: Path) -> None:
    with started([*launch("cpu"), *long, "--ranks-per-run", "2", "--timeout", "4"], tmp_path) as command:
        os.kill(ranks_training(command, tmp_path, 1)[1], signal.SIGKILL)
        assert command.wait() == 1
        command.leaves_nothing(0)
    assert re.search(r"^gpt: rank (0 and )?1 ended before the work did; ", command.said, re.MULTILINE), command.said


# Exit codes


def test_a_launch_that_does_everything_ends_with_0(short: list[str | Path], tmp_path: Path) -> None:
    code, said = run_command([*launch("cpu", "-n", "3", "--main_process_port", "0"), *short], tmp_path)
    assert code == 0, said
    assert states(tmp_path) == ["done"] * 4
    words = f"{sys.executable} -m accelerate.commands.launch --config_file {LAUNCH}/cpu.yaml --num_processes 3 "
    assert said.startswith(f"gpt: starts {words}--main_process_port 0 -m gpt study run ")
    assert "4 to train on cpu with 3 processes" in said


def test_a_launch_with_a_failed_run_ends_with_3(short: list[str | Path], tmp_path: Path) -> None:
    run_command([*GPT, *short], tmp_path)
    broken = runs_of(tmp_path / "out")[0]
    broken.status_json.unlink()
    broken.metrics.unlink()
    broken.metrics.mkdir()
    code, said = run_command([*launch("cpu"), *short], tmp_path)
    assert code == 3, said
    assert f"run {broken.root.name}" in said
    assert "Traceback" not in said


def test_bad_input_of_all_ranks_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    code, said = run_command([*launch("cpu"), "train", "none.yaml"], tmp_path)
    assert code == 2, said
    assert said.splitlines()[1:] == ["gpt: none.yaml: no such file"]


def test_bad_input_of_one_rank_leaves_no_other_waiting(long: list[str | Path], tmp_path: Path) -> None:
    file = tmp_path / "alone.yaml"
    file.write_text((LAUNCH / "cpu.yaml").read_text().replace("MULTI_GPU", "MULTI_CPU"))
    code, said = run_command([*GPT, "launch", file, *long], tmp_path)
    assert code == 2, said
    assert said.splitlines()[1:][0].startswith("gpt: accelerate launch was asked for 2 processes but started one")
    assert len(said.splitlines()) == 2


def test_a_launcher_that_refuses_its_options_is_no_lost_rank(tmp_path: Path) -> None:
    code, said = run_command([*launch("cpu", "--bad"), "train", "none.yaml"], tmp_path)
    assert code == 2, said
    assert said.endswith("gpt: no rank has begun: accelerate launch ended with exit code 2\n")
