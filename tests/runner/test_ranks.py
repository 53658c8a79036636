"""One study, one process or many: what is computed does not depend on who computes it, by real commands and launchers.

Where the same sums are added in the same order the claim is equal bytes, else `TOLERANCE`.
"""

import itertools
import json
import re
import signal
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import (
    BIN,
    GPT,
    accelerate,
    furthest,
    layouts_of,
    records,
    rows_of,
    run_command,
    runs_of,
    started,
    wait_for,
)
from tiny import study_of, write_run

from gpt.records.run_folder import load_arrays
from gpt.study.folder import StudyFolder

pytestmark = pytest.mark.launch

TOLERANCE = 2e-5
"""of losses and of all numbers of the findings, relative to the larger of 1 and their size; 2.5e-7 was measured. Faster
learning rates would amplify the last bit to percents within these steps, without any ranks too"""
STEPS = 200
"""of a run that is caught in the middle"""
# The same study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    """Pre-LN against Post-LN, three seeds, 100 steps."""
    changes = {"model": {"dropout": 0.1}, "optim": {"lr": "5e-3"}, "train": {"steps": 100, "eval_every": 50}}
    return study_of(tmp_path_factory.mktemp("study"), excerpt, changes, probes={"every": 50}, seeds=3)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, study: Path) -> Path:
    """What one process leaves of the study."""
    out = tmp_path_factory.mktemp("alone") / "out"
    said = run_study(GPT, study, out, "--processes", "1")
    assert "6 to train on cpu with 1 process\n" in said
    return out


def run_study(command: list[Any], study: Path, out: Path, *options: str) -> str:
    """What the command said; every run was trained once."""
    code, said = run_command([*command, "study", "run", study, "--out", out, *options], out.parent)
    assert code == 0, said
    ends = [run.read_status() for run in runs_of(out)]
    assert [(status.state, status.attempts) for status in ends] == [("done", 1)] * 6, said
    return said


def findings(out: Path) -> dict[str, Any]:
    return json.loads(StudyFolder(out, "tiny").findings.read_bytes())


def check_layout(out: Path, engine: str, ranks: int, micro_batches: int, seeds_together: int | None = 1) -> None:
    """What the runs' own records say of the world they were computed in."""
    for run in runs_of(out):
        layout = layouts_of(run)[-1]
        assert (layout["engine"], layout["ranks"], layout["micro_batches"]) == (engine, ranks, micro_batches)
        assert seeds_together in (None, layout["seeds_together"])


def check_alike(first: Any, second: Any, where: str = "findings") -> None:
    """Two parts of findings are equal but for `TOLERANCE`; numbers in sentences are not looked at."""
    assert type(first) is type(second), where
    if isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key, value in first.items():
            check_alike(value, second[key], f"{where}.{key}")
    elif isinstance(first, list):
        assert len(first) == len(second), where
        for index, value in enumerate(first):
            check_alike(value, second[index], f"{where}.{index}")
    elif isinstance(first, float):
        assert abs(first - second) <= TOLERANCE * max(1.0, abs(first)), f"{where}: {first} and {second}"
    elif isinstance(first, str):
        assert re.sub(r"[\d.]+", "#", first) == re.sub(r"[\d.]+", "#", second), where
    else:
        assert first == second, where


def check_same_results(out: Path, alone: Path) -> None:
    """Every loss and the findings agree with those of one process, though not in their bits."""
    assert all(furthest(alone, out, key) < TOLERANCE for key in ("train/loss", "val/loss", "test/loss"))
    of_one, of_many = findings(alone), findings(out)
    assert of_many["runs"]["finished"] == of_many["runs"]["planned"]
    for part in ("settings", "control", "runs"):
        check_alike(of_one[part], of_many[part], part)
    for run, same in zip(runs_of(alone), runs_of(out), strict=True):
        of_run, of_same = (load_arrays(each.probe_file(run.probe_steps()[-1]))["update_ratio"] for each in (run, same))
        np.testing.assert_allclose(of_run, of_same, rtol=1e-3)
    assert records(out) != records(alone), "other layouts round differently; equal bits would mean the same layout"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        pytest.param(GPT, ["--processes", "2"], id="own"),
        pytest.param(accelerate("cpu"), [], id="accelerate"),
    ],
)
def test_two_rows_leave_the_bytes_of_one_process(
    alone: Path, study: Path, tmp_path: Path, command: list[Any], options: list[str]
) -> None:
    said = run_study(command, study, tmp_path / "out", *options)
    assert "6 to train on cpu with 2 processes\n" in said
    check_layout(tmp_path / "out", "single process", ranks=1, micro_batches=1)
    assert records(tmp_path / "out") == records(alone)
    assert findings(tmp_path / "out") == findings(alone)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        pytest.param(GPT, ["--processes", "2"], id="own"),
        pytest.param(accelerate("cpu"), [], id="accelerate"),
    ],
)
def test_two_ranks_that_share_each_run_find_the_same(
    alone: Path, study: Path, tmp_path: Path, command: list[Any], options: list[str]
) -> None:
    said = run_study(command, study, tmp_path / "out", *options, "--ranks-per-run", "2")
    assert "with 2 processes, 2 for each run, DDP over gloo" in said
    check_layout(tmp_path / "out", "DDP", ranks=2, micro_batches=2)
    check_same_results(tmp_path / "out", alone)


def test_rows_that_take_seed_batches_of_uneven_size_train_every_run_once_and_find_the_same(
    alone: Path, study: Path, tmp_path: Path
) -> None:
    said = run_study(GPT, study, tmp_path / "out", "--processes", "2", "--seeds-per-process", "2")
    assert "with 2 processes, up to 2 seeds together\n" in said
    check_layout(tmp_path / "out", "single process", ranks=1, micro_batches=1, seeds_together=None)
    together = sorted(layouts_of(run)[0]["seeds_together"] for run in runs_of(tmp_path / "out"))
    assert together == [1, 1, 2, 2, 2, 2]
    check_same_results(tmp_path / "out", alone)


@pytest.mark.parametrize("ranks", ["1", "2"])
def test_seeds_trained_together_find_the_same(alone: Path, study: Path, tmp_path: Path, ranks: str) -> None:
    options = ["--processes", ranks, "--ranks-per-run", ranks, "--seeds-per-process", "3"]
    said = run_study(GPT, study, tmp_path / "out", *options)
    assert "up to 3 seeds together" in said
    check_layout(
        tmp_path / "out", "DDP" if ranks == "2" else "single process", int(ranks), int(ranks), seeds_together=3
    )
    check_same_results(tmp_path / "out", alone)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_study_by_deepspeed_finds_the_same(alone: Path, study: Path, tmp_path: Path, stage: int) -> None:
    said = run_study(accelerate(f"zero{stage}"), study, tmp_path / "out")
    assert f"with 2 processes, 2 for each run, DeepSpeed ZeRO-{stage} over gloo" in said
    check_layout(tmp_path / "out", f"DeepSpeed ZeRO-{stage}", ranks=2, micro_batches=2)
    check_same_results(tmp_path / "out", alone)


def test_a_study_by_fsdp_finds_the_same(alone: Path, study: Path, tmp_path: Path) -> None:
    said = run_study(accelerate("fsdp"), study, tmp_path / "out", "--seeds-per-process", "2")
    assert "with 2 processes, 2 for each run, up to 2 seeds together, FSDP2 over gloo" in said
    check_layout(tmp_path / "out", "FSDP2", ranks=2, micro_batches=2, seeds_together=None)
    check_same_results(tmp_path / "out", alone)


def test_seeds_trained_together_by_deepspeed_find_the_same(alone: Path, study: Path, tmp_path: Path) -> None:
    run_study(accelerate("zero3"), study, tmp_path / "out", "--seeds-per-process", "3")
    check_layout(tmp_path / "out", "DeepSpeed ZeRO-3", ranks=2, micro_batches=2, seeds_together=3)
    check_same_results(tmp_path / "out", alone)


# The same run, stopped and taken up elsewhere


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
    assert furthest(whole.out, training.out, "train/loss") < TOLERANCE
    assert furthest(whole.out, training.out, "val/loss") < TOLERANCE
    between_batches = [row["train/loss"] for row in rows_of(runs_of(whole.out)[0])[1:]]
    changes = [abs(a - b) for a, b in itertools.pairwise(between_batches)]
    assert sorted(changes)[len(changes) // 2] > 100 * TOLERANCE, "other samples would show"


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


# Two machines


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
    assert furthest(whole.out, tmp_path / "out", "train/loss") < TOLERANCE


# Refusals


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--processes", "3", "--ranks-per-run", "3"], "train.batch_size: got 8, must be a multiple of 3 ranks"),
        (
            ["--processes", "3", "--ranks-per-run", "2"],
            "--ranks-per-run: got 2, must divide the number of processes",
        ),
    ],
    ids=["batch", "processes"],
)
def test_a_layout_that_does_not_fit_is_refused_before_anything_is_trained(
    study: Path, tmp_path: Path, options: list[str], why: str
) -> None:
    code, said = run_command([*GPT, "study", "run", study, "--out", tmp_path / "out", *options], tmp_path)
    assert code == 2
    assert re.fullmatch(f"gpt: {re.escape(why)}.*\n", said), "one line"
    assert not (tmp_path / "out/runs").exists()


@pytest.mark.parametrize(
    ("file", "options", "why"),
    [
        ("cpu", ["--processes", "2"], "got 2, must be left out: a launcher started 2"),
        ("cpu", ["--ranks-per-run", "3"], "got 3, must divide the number of processes, 2"),
        ("zero3", ["--ranks-per-run", "1"], "got 1 with DeepSpeed ZeRO-3, which has something to"),
    ],
    ids=["processes", "ranks-per-run", "deepspeed"],
)
def test_a_launch_that_does_not_fit_is_refused_before_anything_is_trained(
    study: Path, tmp_path: Path, file: str, options: list[str], why: str
) -> None:
    code, said = run_command([*accelerate(file), "study", "run", study, "--out", tmp_path / "out", *options], tmp_path)
    assert code == 1
    assert len(re.findall(rf"^gpt: .*{re.escape(why)}", said, re.MULTILINE)) == 1, said
    assert re.search(r"exitcode +: 2 ", said), said
    assert not (tmp_path / "out/runs").exists()


def test_sums_in_order_by_deepspeed_are_refused_before_anything_is_trained(run_file: Path, tmp_path: Path) -> None:
    code, said = run_command([*accelerate("zero3"), "train", run_file, "--out", tmp_path / "out", *ORDERED], tmp_path)
    assert code == 1
    assert said.count("gpt: train.reduction: got rank_invariant, must be fast with DeepSpeed") == 1, said
    assert not (tmp_path / "out/runs").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("--seeds $((2 + RANK))", "ranks differ in runs; all ranks of a launch must be alike"),
        ("--ranks-per-run $((1 + RANK))", "ranks differ in ranks-per-run 2 on rank 1, 1 on"),
        ("--threads $((1 + RANK))", "ranks differ in threads 2 on rank 1, 1 on rank 0"),
    ],
    ids=["runs", "ranks-per-run", "threads"],
)
def test_ranks_that_were_given_different_commands_are_refused(
    study: Path, tmp_path: Path, options: str, why: str
) -> None:
    shell = f'exec "$0" -m gpt study run "$1" --out "$2" --timeout 20 {options}'
    command = [BIN / "torchrun", "--nproc-per-node", "2", "--no-python", "sh", "-c", shell, GPT[0]]
    code, said = run_command([*command, study, tmp_path / "out"], tmp_path)
    assert code == 1
    assert len(re.findall(rf"^gpt: {re.escape(why)}", said, re.MULTILINE)) == 1, said
    assert not list(tmp_path.glob("out/runs/*/metrics.jsonl"))


def test_a_rank_that_does_not_come_is_named(study: Path, tmp_path: Path) -> None:
    shell = f'[ $RANK = 1 ] && exec sleep 60; exec "$0" -m gpt study run {study} --out {tmp_path}/out --timeout 5'
    command = [BIN / "torchrun", "--nproc-per-node", "2", "--no-python", "sh", "-c", shell, GPT[0]]
    code, said = run_command(command, tmp_path)
    assert code == 1
    assert "gpt: rank 1 did not come: all ranks of the launch must run the same command" in said
    assert not list(tmp_path.glob("out/runs/*/metrics.jsonl"))
