"""Layouts and launches that do not fit are refused before anything is trained, by real commands and launchers."""

import re
from pathlib import Path

import pytest
from commands import BIN, GPT, accelerate, run_command

pytestmark = pytest.mark.launch


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
    tiny_study: Path, tmp_path: Path, options: list[str], why: str
) -> None:
    code, said = run_command([*GPT, "study", "run", tiny_study, "--out", tmp_path / "out", *options], tmp_path)
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
    tiny_study: Path, tmp_path: Path, file: str, options: list[str], why: str
) -> None:
    code, said = run_command(
        [*accelerate(file), "study", "run", tiny_study, "--out", tmp_path / "out", *options], tmp_path
    )
    assert code == 1
    assert len(re.findall(rf"^gpt: .*{re.escape(why)}", said, re.MULTILINE)) == 1, said
    assert re.search(r"exitcode +: 2 ", said), said
    assert not (tmp_path / "out/runs").exists()


def test_sums_in_order_by_deepspeed_are_refused_before_anything_is_trained(tiny_file: Path, tmp_path: Path) -> None:
    ordered = ["--train.reduction", "rank_invariant", "--train.micro_batch_size", "2"]
    code, said = run_command([*accelerate("zero3"), "train", tiny_file, "--out", tmp_path / "out", *ordered], tmp_path)
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
    tiny_study: Path, tmp_path: Path, options: str, why: str
) -> None:
    shell = f'exec "$0" -m gpt study run "$1" --out "$2" --timeout 20 {options}'
    command = [BIN / "torchrun", "--nproc-per-node", "2", "--no-python", "sh", "-c", shell, GPT[0]]
    code, said = run_command([*command, tiny_study, tmp_path / "out"], tmp_path)
    assert code == 1
    assert len(re.findall(rf"^gpt: {re.escape(why)}", said, re.MULTILINE)) == 1, said
    assert not list(tmp_path.glob("out/runs/*/metrics.jsonl"))


def test_a_rank_that_does_not_come_is_named(tiny_study: Path, tmp_path: Path) -> None:
    shell = f'[ $RANK = 1 ] && exec sleep 60; exec "$0" -m gpt study run {tiny_study} --out {tmp_path}/out --timeout 5'
    command = [BIN / "torchrun", "--nproc-per-node", "2", "--no-python", "sh", "-c", shell, GPT[0]]
    code, said = run_command(command, tmp_path)
    assert code == 1
    assert "gpt: rank 1 did not come: all ranks of the launch must run the same command" in said
    assert not list(tmp_path.glob("out/runs/*/metrics.jsonl"))
