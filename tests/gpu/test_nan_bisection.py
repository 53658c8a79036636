"""The bisection runs through on a CPU in its small form, so that it works the first time that a GPU is there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parent / "nan_bisection.py"


def bisect(out: Path, *words: str) -> str:
    command = [sys.executable, str(SCRIPT), str(out), "--small", "--device", "cpu", "--backend", "eager", *words]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2]), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_every_case_runs_or_says_why_not_and_is_written_at_once(tmp_path: Path) -> None:
    out = tmp_path / "nan.json"
    said = bisect(out)
    found = json.loads(out.read_text())
    assert found["machine"]["device"] == "cpu"
    cases = found["cases"]
    assert len(said.splitlines()) == len(cases) == 13
    assert [name for name, case in cases.items() if "not_run" in case] == ["graph", "graph without cuDNN"]
    assert "train.step: got graph" in cases["graph"]["not_run"]
    for name, case in cases.items():
        if "not_run" not in case:
            assert (case["left_at"], case["diverged_at"], case["steps"]) == (None, None, 4), name
            assert case["weights_finite"]
            assert 3 < case["last_loss"] < 5
    assert bisect(out, "--case", "as it was") == "", "what is there is not computed again"


def test_what_does_not_fit_into_the_time_is_named(tmp_path: Path) -> None:
    out = tmp_path / "nan.json"
    bisect(out, "--seconds", "-1", "--case", "as it was", "--case", "fp32")
    assert {name: list(case) for name, case in json.loads(out.read_text())["cases"].items()} == {
        "as it was": ["not_run"],
        "fp32": ["not_run"],
    }
    assert bisect(out, "--case", "plain steps").count('"case": "plain steps"') == 1
