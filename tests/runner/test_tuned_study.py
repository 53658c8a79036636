"""Studies that tune by the real command: trials first, then the comparison, however often they are interrupted."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from commands import GPT, gpt, records, run_command, runs_of, started, wait_for
from files import edited
from tiny import UNPROBED, write_run, write_study

from gpt.study.folder import StudyFolder
from gpt.study.tuning import FIRST_SEED

TUNE = "{optim.lr: [5.0e-3, 1.0e-2], seeds: 1, extend: true}"
GRID = [5e-3, 1e-2, 2e-2, 4e-2]
"""as it is extended: the tiny run likes high rates"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    """Two variants, of which each has two trials to begin with, and two seeds of the comparison."""
    folder = tmp_path_factory.mktemp("tuned")
    base = write_run(folder / "run.yaml", excerpt, UNPROBED, model={"layers": 1})
    return write_study(folder / "study.yaml", base, tune=TUNE)


@pytest.fixture(scope="module")
def finished(study: Path) -> tuple[Path, str]:
    """The folder of the study and what its command said."""
    out = study.parent / "out"
    code, said = gpt("study", "run", study, "--out", out, home=study.parent)
    assert code == 0, said
    return out, said


def table(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "studies/tiny/runs.json").read_text())["runs"]


def contents(out: Path) -> dict[str, bytes]:
    """Every record that must not depend on how the runs were run."""
    folder = StudyFolder(out, "tiny")
    return records(out) | {"findings": folder.findings.read_bytes(), "runs.json": folder.runs_json.read_bytes()}


def test_trials_come_first_and_the_comparison_is_on_seeds_of_its_own(finished: tuple[Path, str]) -> None:
    out, said = finished
    assert "0 of 4 runs are done, 4 to train" in said
    assert "tiny: the best optim.lr of a variant is at the end of its grid: all are tried with 0.02 too" in said
    assert "tiny: on to the comparison, 4 runs on seeds that no trial had" in said
    trials = [run for run in table(out) if "optim.lr" in run["setting"]]
    runs = [run for run in table(out) if "optim.lr" not in run["setting"]]
    assert {run["seed"] for run in trials} == {FIRST_SEED}
    assert {run["seed"] for run in runs} == {0, 1}
    assert sorted({run["setting"]["optim.lr"] for run in trials}) == GRID[: len(trials) // 2]
    assert {run["run"] for run in table(out)} == {run.root.name for run in runs_of(out)}


def test_each_variant_is_compared_at_its_own_best(finished: tuple[Path, str]) -> None:
    out, _ = finished
    lowest: dict[str, tuple[float, float]] = {}
    for run in table(out):
        if "optim.lr" in run["setting"]:
            rows = (out / "runs" / run["run"] / "metrics.jsonl").read_text().splitlines()
            loss = min(row["val/loss"] for row in map(json.loads, rows) if "val/loss" in row)
            own = loss, run["setting"]["optim.lr"]
            lowest[run["variant"]] = min(own, lowest.get(run["variant"], own))
    for run in table(out):
        if "optim.lr" not in run["setting"]:
            config = json.loads((out / "runs" / run["run"] / "run.json").read_text())["config"]
            assert config["optim"]["lr"] == lowest[run["variant"]][1]
    findings = json.loads((out / "studies/tiny/report/findings.json").read_text())
    assert findings["runs"] == {"planned": 4, "finished": 4, "states": {"done": 4}}
    assert findings["control"]["holds"] is True


def test_running_it_again_trains_nothing(study: Path, finished: tuple[Path, str]) -> None:
    out, _ = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    code, said = gpt("study", "run", study, "--out", out, home=study.parent)
    assert code == 0
    assert "nothing to do: all" in said
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_status_counts_trials_and_verify_finds_nothing_wrong(study: Path, finished: tuple[Path, str]) -> None:
    out, _ = finished
    trials = len(runs_of(out)) - 4
    code, said = gpt("study", "status", out, home=study.parent)
    assert (code, said.splitlines()[0]) == (0, f"tiny: {trials} of {trials} trials finished; 4 of 4 runs finished")
    code, said = gpt("verify", out, home=study.parent)
    assert (code, said.strip().endswith("nothing wrong")) == (0, True), said


def test_check_says_what_tuning_takes(study: Path) -> None:
    code, said = gpt("study", "check", study, home=study.parent)
    assert code == 0
    assert "tuning      optim.lr = 0.005, 0.01: 4 trials, 12 if every end is extended" in said
    assert "runs        4: 2 variants x 1 setting x 2 seeds" in said


@pytest.mark.fault("a kill in each stage of a study that tunes")
@pytest.mark.slow
def test_killed_in_any_stage_it_ends_with_the_same_bytes(
    study: Path, finished: tuple[Path, str], tmp_path: Path
) -> None:
    out, whole = tmp_path / "out", contents(finished[0])
    for trained in (1, 5, len(runs_of(finished[0])) - 2):
        with started([*GPT, "study", "run", study, "--out", out], tmp_path) as command:
            wait_for(lambda n=trained: len(list(out.glob("runs/*/status.json"))) >= n, command)
            os.killpg(command.process.pid, signal.SIGKILL)
            command.wait()
            command.leaves_nothing()
    code, said = run_command([*GPT, "study", "run", study, "--out", out], tmp_path)
    assert code == 0, said
    assert contents(out) == whole


@pytest.mark.slow
def test_two_commands_at_once_share_both_stages(study: Path, finished: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [*GPT, "study", "run", study, "--out", out, "--processes", "1"]
    with started(words, tmp_path) as one, started(words, tmp_path) as other:
        assert (one.wait(), other.wait()) == (0, 0), one.said + other.said
    attempts = [run.read_status().attempts for run in runs_of(out)]
    assert attempts == [1] * len(attempts)
    assert contents(out) == contents(finished[0])


def test_until_a_best_is_chosen_status_and_verify_say_so(
    study: Path, finished: tuple[Path, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with started([*GPT, "study", "run", study, "--out", out, "--processes", "1"], tmp_path) as command:
        wait_for(lambda: list(out.glob("runs/*/status.json")), command)
        os.killpg(command.process.pid, signal.SIGTERM)
        assert command.wait() == 75, command.said
    code, said = gpt("study", "status", out, home=tmp_path)
    assert "of 4 trials finished; no best is chosen yet" in said
    code, said = gpt("verify", out, home=tmp_path)
    assert code == 1
    assert "a trial is missing, so that no best is chosen yet" in said
    code, said = gpt("study", "report", out, home=tmp_path)
    assert code == 0, said
    assert "0 of 4 runs have finished" in (out / "studies/tiny/report/report.md").read_text()


def test_a_second_study_of_the_folder_trains_no_trial_again(
    study: Path, finished: tuple[Path, str], tmp_path: Path
) -> None:
    out, _ = finished
    more = study.parent / "more.yaml"
    more.write_text(study.read_text().replace("name: tiny", "name: more"))
    edited(more, "seeds: 2", "seeds: 3")
    code, said = gpt("study", "check", more, home=study.parent)
    assert code == 0, said
    before = {run.root.name for run in runs_of(out)}
    code, said = gpt("study", "run", more, "--out", out, home=study.parent)
    assert code == 0, said
    assert len({run.root.name for run in runs_of(out)} - before) == 2
