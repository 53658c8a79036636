"""`make gpu` in its small form on a CPU, so that it works the first time that a GPU is there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parent / "stages.py"


def call(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
def test_stages_run_are_written_at_once_and_not_run_again(tmp_path: Path) -> None:
    names = call(tmp_path, "--small", "--list").stdout.splitlines()
    compiles = [name for name in names if "parity" in name]
    assert (len(names), len(compiles)) == (6, 1), "compiled kernels take minutes on a CPU, and have tests of their own"
    first = call(tmp_path, "--small", "--only", "text", "--only", "study")
    assert first.returncode == 0, first.stderr
    others = ["--only", "bench", "--only", "bisection", "--only", "strict"]
    ended = call(tmp_path, "--small", *others)
    assert ended.returncode == 0, ended.stdout
    found = json.loads((tmp_path / "stages.json").read_text())
    assert {stage["state"] for stage in found.values()} == {"done"}
    assert len(found) == 5
    assert json.loads((tmp_path / "bench_char_quick_alone.json").read_text())["run"] == "char_quick"
    assert len(json.loads((tmp_path / "nan_bisection.json").read_text())["cases"]) == 13
    assert list((tmp_path / "runs").glob("runs/*/metrics.jsonl"))


def test_what_is_done_is_not_done_again_and_what_does_not_fit_is_named(tmp_path: Path) -> None:
    (tmp_path / "stages.json").write_text(json.dumps({"text": {"state": "done", "seconds": 1.0}}))
    ended = call(tmp_path, "--small", "--seconds", "0")
    found = json.loads((tmp_path / "stages.json").read_text())
    assert (ended.returncode, ended.stdout) == (1, "")
    assert found.pop("text") == {"state": "done", "seconds": 1.0}
    assert {stage["state"] for stage in found.values()} == {"not begun"}
    assert len(found) == 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="claims what holds without a GPU")
def test_without_a_gpu_nothing_is_begun(tmp_path: Path) -> None:
    ended = call(tmp_path)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    listed = call(tmp_path, "--list").stdout.splitlines()
    assert len(listed) == 19
    assert "parity" in listed[1]
