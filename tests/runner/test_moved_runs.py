"""One run, stopped and taken up by other ranks, engines or machines, by real commands and launchers.

Where the same sums are added in the same order the claim is equal bytes, else `ROUNDING`.
"""

import itertools
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from commands import (
    GPT,
    ROUNDING,
    accelerate,
    check_layout,
    furthest,
    layouts_of,
    records,
    rows_of,
    run_command,
    runs_of,
    started,
    wait_for,
)
from tiny import write_run

pytestmark = pytest.mark.launch

STEPS = 200
"""of a run that is caught in the middle"""


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    changes = {"model": {"dropout": 0.1}, "optim": {"lr": "3e-3"}, "probes": {"every": 50}}
    path = tmp_path_factory.mktemp("run") / "run.yaml"
    return write_run(path, excerpt, changes, train={"steps": STEPS, "eval_every": 50, "checkpoint_every": 20})


ORDERED = ["--train.reduction", "rank_invariant", "--train.micro_batch_size", "2"]


class Training:
    """One run in a folder, started by several commands, one after the other."""

    def __init__(self, run_file: Path, out: Path, *fields: str):
        self.out = out
        self._arguments = ["train", run_file, "--out", out, "--timeout", "30", *fields]

    def to_the_end(self, command: list[Any], *options: str) -> "Training":
        code, said = run_command([*command, *self._arguments, *options], self.out.parent)
        assert code == 0, said
        assert runs_of(self.out)[0].read_status().state == "done"
        return self

    def until_stopped(self, command: list[Any], *options: str) -> "Training":
        """Go on for at least one checkpoint, then ask the command to stop."""
        before = self.checkpoints()
        with started([*command, *self._arguments, *options], self.out.parent) as begun:
            wait_for(lambda: self.checkpoints() - before and self._goes_on(), begun)
            begun.process.send_signal(signal.SIGTERM)
            code = begun.wait()
            assert code == (75 if command is GPT else 1), begun.said
            begun.leaves_nothing()
        status = runs_of(self.out)[0].read_status()
        assert status.state == "preempted", begun.said
        assert status.step < STEPS
        return self

    def _goes_on(self) -> bool:
        return runs_of(self.out)[0].read_status().state == "running"

    def checkpoints(self) -> set[str]:
        return {path.name for path in self.out.glob("runs/*/checkpoints/step-*")}

    @property
    def layouts(self) -> list[tuple[str, int]]:
        """Engine and number of ranks of every attempt, as the run itself tells them."""
        run = runs_of(self.out)[0]
        starts = [layout["from_step"] for layout in layouts_of(run)]
        assert starts[0] == 0
        assert starts == sorted(set(starts)), "every attempt went on from where the one before had come to"
        return [(layout["engine"], layout["ranks"]) for layout in layouts_of(run)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, run_file: Path) -> Training:
    """The run by one process that nothing interrupts."""
    return Training(run_file, tmp_path_factory.mktemp("whole") / "out").to_the_end(GPT)


@pytest.fixture(scope="module")
def whole_in_order(tmp_path_factory: pytest.TempPathFactory, run_file: Path) -> Training:
    """The same, with sums in order."""
    return Training(run_file, tmp_path_factory.mktemp("rank_invariant") / "out", *ORDERED).to_the_end(GPT)


def ranks(number: int) -> list[str]:
    return ["--ranks-per-run", str(number)]


@pytest.mark.parametrize("number", [2, 4])
def test_sums_in_order_have_the_same_bits_on_any_number_of_ranks(
    whole_in_order: Training, run_file: Path, tmp_path: Path, number: int
) -> None:
    training = Training(run_file, tmp_path / "out", *ORDERED).to_the_end(GPT, *ranks(number))
    assert training.layouts == [("rank-invariant", number)]
    assert records(training.out) == records(whole_in_order.out)


@pytest.mark.parametrize("numbers", [[2, 1], [1, 2, 4, 1]], ids=["2-1", "1-2-4-1"])
def test_a_run_in_order_that_moves_between_ranks_ends_with_the_same_bytes(
    whole_in_order: Training, run_file: Path, tmp_path: Path, numbers: list[int]
) -> None:
    training = Training(run_file, tmp_path / "out", *ORDERED)
    for number in numbers[:-1]:
        training.until_stopped(GPT, *ranks(number))
    training.to_the_end(GPT, *ranks(numbers[-1]))
    assert training.layouts == [("rank-invariant" if number > 1 else "single process", number) for number in numbers]
    assert records(training.out) == records(whole_in_order.out)


def test_a_run_that_moves_between_ranks_sees_the_same_samples(whole: Training, run_file: Path, tmp_path: Path) -> None:
    training = Training(run_file, tmp_path / "out")
    for number in (1, 2, 4):
        training.until_stopped(GPT, *ranks(number))
    training.to_the_end(GPT, *ranks(1))
    assert training.layouts == [("single process", 1), ("DDP", 2), ("DDP", 4), ("single process", 1)]
    check_same_losses(training, whole)


def check_same_losses(training: Training, whole: Training) -> None:
    assert furthest(whole.out, training.out, "train/loss") < ROUNDING
    assert furthest(whole.out, training.out, "val/loss") < ROUNDING
    between_batches = [row["train/loss"] for row in rows_of(runs_of(whole.out)[0])[1:]]
    changes = [abs(a - b) for a, b in itertools.pairwise(between_batches)]
    assert sorted(changes)[len(changes) // 2] > 100 * ROUNDING, "other samples would show"


def test_what_zero_3_leaves_is_taken_up_by_one_process(whole: Training, run_file: Path, tmp_path: Path) -> None:
    training = Training(run_file, tmp_path / "out")
    training.until_stopped(accelerate("zero3")).to_the_end(GPT)
    assert training.layouts == [("DeepSpeed ZeRO-3", 2), ("single process", 1)]
    check_same_losses(training, whole)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_run_by_deepspeed_that_was_stopped_ends_with_the_same_bytes(
    run_file: Path, tmp_path: Path, stage: int
) -> None:
    command = accelerate(f"zero{stage}")
    (tmp_path / "whole").mkdir()
    uninterrupted = Training(run_file, tmp_path / "whole/out").to_the_end(command)
    training = Training(run_file, tmp_path / "out").until_stopped(command).to_the_end(command)
    assert training.layouts == [(f"DeepSpeed ZeRO-{stage}", 2)]
    assert runs_of(training.out)[0].read_status().attempts == 2
    assert records(training.out) == records(uninterrupted.out)


def test_what_ranks_leave_is_taken_up_by_zero_2_and_then_by_one_process(
    whole: Training, run_file: Path, tmp_path: Path
) -> None:
    training = Training(run_file, tmp_path / "out").until_stopped(GPT, *ranks(2))
    training.until_stopped(accelerate("zero2")).to_the_end(GPT)
    assert training.layouts == [("DDP", 2), ("DeepSpeed ZeRO-2", 2), ("single process", 1)]
    check_same_losses(training, whole)


def test_what_fsdp_leaves_is_taken_up_by_every_other_engine_and_what_they_leave_by_fsdp(
    whole: Training, run_file: Path, tmp_path: Path
) -> None:
    training = Training(run_file, tmp_path / "out").until_stopped(GPT)
    training.until_stopped(accelerate("fsdp")).until_stopped(accelerate("zero2")).until_stopped(accelerate("fsdp"))
    training.until_stopped(GPT, *ranks(2)).to_the_end(accelerate("fsdp"))
    engines = ["single process", "FSDP2", "DeepSpeed ZeRO-2", "FSDP2", "DDP", "FSDP2"]
    assert [engine for engine, _ in training.layouts] == engines
    check_same_losses(training, whole)


def test_a_run_by_fsdp_that_was_stopped_ends_with_the_same_bytes(run_file: Path, tmp_path: Path) -> None:
    command = accelerate("fsdp")
    (tmp_path / "whole").mkdir()
    uninterrupted = Training(run_file, tmp_path / "whole/out").to_the_end(command)
    training = Training(run_file, tmp_path / "out").until_stopped(command).to_the_end(command)
    assert training.layouts == [("FSDP2", 2)]
    assert records(training.out) == records(uninterrupted.out)


def test_two_machines_train_one_run(whole: Training, run_file: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    machine = ["--main_process_ip", "127.0.0.1", "--main_process_port", port, "--machine_rank"]
    arguments = ["train", run_file, "--out", tmp_path / "out"]
    with (
        started([*accelerate("two_machines", *machine, "0"), *arguments], tmp_path) as first,
        started([*accelerate("two_machines", *machine, "1"), *arguments], tmp_path) as second,
    ):
        assert (first.wait(), second.wait()) == (0, 0), first.said + second.said
        first.leaves_nothing()
        second.leaves_nothing()
    assert "with 2 processes, 2 for each run, DDP over gloo" in first.said
    check_layout(tmp_path / "out", "DDP", ranks=2, micro_batches=2)
    assert furthest(whole.out, tmp_path / "out", "train/loss") < ROUNDING
