"""One study, one process or many: what is computed does not depend on who computes it, by real commands and launchers.

Where the same sums are added in the same order the claim is equal bytes, else `ROUNDING`.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import GPT, ROUNDING, accelerate, check_layout, furthest, layouts_of, records, run_command, runs_of
from tiny import study_of

from gpt.records.run_folder import load_arrays
from gpt.study.folder import StudyFolder

pytestmark = pytest.mark.launch


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


def check_alike(first: Any, second: Any, where: str = "findings") -> None:
    """Two parts of findings are equal but for `ROUNDING`; numbers in sentences are not looked at."""
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
        assert abs(first - second) <= ROUNDING * max(1.0, abs(first)), f"{where}: {first} and {second}"
    elif isinstance(first, str):
        assert re.sub(r"[\d.]+", "#", first) == re.sub(r"[\d.]+", "#", second), where
    else:
        assert first == second, where


def check_same_results(out: Path, alone: Path) -> None:
    """Every loss and the findings agree with those of one process, though not in their bits."""
    assert all(furthest(alone, out, key) < ROUNDING for key in ("train/loss", "val/loss", "test/loss"))
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
