"""Whole studies by the real command: what they leave, that they may be interrupted, that runs fail alone."""

import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from commands import GPT, gpt, records, rows_of, run_command, runs_of, started, wait_for
from files import edited
from tiny import UNPROBED, study_of

from gpt.study.folder import StudyFolder


def contents(out: Path) -> dict[str, bytes]:
    """Every record that must not depend on how the runs were run."""
    return records(out) | {"findings": StudyFolder(out, "tiny").findings.read_bytes()}


def committed(out: Path) -> int:
    return len(list(out.glob("runs/*/checkpoints/step-*/manifest.json")))


@pytest.fixture(scope="module")
def long_study(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    """Two variants, two seeds, long enough to be caught in the middle."""
    often = {"train": {"eval_every": 40, "checkpoint_every": 15}, "probes": {"every": 50, "long_range_windows": 0}}
    changes = {"model": {"dropout": 0.1}, "optim": {"lr": "3e-3"}, "train": {"steps": 120}}
    return study_of(tmp_path_factory.mktemp("study"), excerpt, changes, often)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, long_study: Path) -> Path:
    return run_to_the_end(long_study, tmp_path_factory.mktemp("whole") / "out")


def run_to_the_end(study: Path, out: Path) -> Path:
    code, said = gpt("study", "run", study, "--out", out, home=study.parent)
    assert code == 0, said
    return out


# Interrupted anywhere


def test_a_study_leaves_every_record_and_a_report(uninterrupted: Path) -> None:
    assert len(runs_of(uninterrupted)) == 4
    for run in runs_of(uninterrupted):
        assert run.read_status().state == "done"
        rows = rows_of(run)
        assert [row["step"] for row in rows] == list(range(121))
        assert [row["step"] for row in rows if "val/loss" in row] == list(range(0, 121, 40))
        assert run.probe_steps() == [0, 50, 100, 120]
        assert len(run.samples.read_text()) == 21
        assert not list(run.checkpoints.glob("*"))
    assert (StudyFolder(uninterrupted, "tiny").report / "report.md").exists()


def test_a_second_run_does_nothing_but_say_so(long_study: Path, uninterrupted: Path) -> None:
    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*") if path.is_file()}

    before = stamps()
    code, said = gpt("study", "run", long_study, "--out", uninterrupted, home=long_study.parent)
    assert code == 0
    assert "nothing to do: all 4 runs are done" in said
    assert stamps() == before


@pytest.mark.fault("a request to stop: Ctrl-C, SIGTERM, SIGUSR1, SIGHUP")
def test_an_interrupt_checkpoints_says_so_and_the_same_command_goes_on(
    long_study: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with started([*GPT, "study", "run", long_study, "--out", out], tmp_path) as command:
        wait_for(lambda: committed(out), command)
        os.killpg(command.process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
        assert command.wait(60) == 75
        command.leaves_nothing()
    assert "run the same command again to resume" in command.said
    assert "Traceback" not in command.said
    assert "preempted" in [run.read_status().state for run in runs_of(out)]
    assert contents(run_to_the_end(long_study, out)) == contents(uninterrupted)


@pytest.mark.slow
@pytest.mark.fault("kill -9 of a whole command")
@pytest.mark.parametrize("kills", [1, 3])
def test_a_killed_study_ends_with_the_same_bytes(
    long_study: Path, uninterrupted: Path, tmp_path: Path, kills: int
) -> None:
    out = tmp_path / "out"
    for _ in range(kills):
        before = set(out.glob("runs/*/checkpoints/step-*/manifest.json"))
        with started([*GPT, "study", "run", long_study, "--out", out], tmp_path) as command:
            wait_for(lambda b=before: set(out.glob("runs/*/checkpoints/step-*/manifest.json")) - b, command)
            os.killpg(command.process.pid, signal.SIGKILL)
            command.wait()
    assert "running" in {run.read_status().state for run in runs_of(out)}
    assert contents(run_to_the_end(long_study, out)) == contents(uninterrupted)


@pytest.mark.slow
@pytest.mark.fault("a command, launcher or supervisor killed")
def test_no_rank_outlives_a_killed_command(long_study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with started([*GPT, "study", "run", long_study, "--out", out, "--processes", "2"], tmp_path) as command:
        wait_for(lambda: committed(out), command)
        assert len(command.ranks()) == 2
        command.process.kill()
        command.wait()
        command.leaves_nothing(30)


# Side by side


@pytest.mark.slow
@pytest.mark.fault("two commands on one output folder")
def test_two_commands_racing_on_one_folder_train_each_run_once(tiny_study: Path, tmp_path: Path) -> None:
    words = [*GPT, "study", "run", tiny_study, "--out", tmp_path / "out"]
    with started(words, tmp_path) as one, started(words, tmp_path) as other:
        assert (one.wait(), other.wait()) == (0, 0), one.said + other.said
    run_to_the_end(tiny_study, tmp_path / "out")
    assert [run.read_status().attempts for run in runs_of(tmp_path / "out")] == [1] * 6


@pytest.fixture(scope="module")
def four_runs(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    """A study that has been run, with its output folder beside it."""
    study = study_of(tmp_path_factory.mktemp("four"), excerpt, UNPROBED)
    run_to_the_end(study, study.parent / "out")
    return study


@pytest.fixture
def out(four_runs: Path, tmp_path: Path) -> Path:
    """A copy of its output folder."""
    return Path(shutil.copytree(four_runs.parent / "out", tmp_path / "out"))


def test_a_command_that_finds_runs_taken_says_so_and_has_not_failed(four_runs: Path, out: Path) -> None:
    taken = runs_of(out)[0]
    taken.write_status(replace(taken.read_status(), state="running"))
    with taken.try_lease():
        code, said = gpt("study", "run", four_runs, "--out", out, home=out.parent)
    assert code == 0, said
    assert "left to the commands that are training them: 1 of 4 runs" in said


# Runs that fail


def test_a_failing_run_is_named_and_the_others_go_on(four_runs: Path, out: Path) -> None:
    broken, missing = runs_of(out)[:2]
    for path in (broken.metrics, broken.status_json, broken.run_json):
        path.unlink()
    broken.metrics.mkdir()
    shutil.rmtree(missing.root)
    code, said = gpt("study", "run", four_runs, "--out", out, home=out.parent)
    assert code == 3
    assert broken.root.name in said
    assert [run.read_status().state for run in (broken, missing)] == ["failed", "done"]
    broken.metrics.rmdir()
    run_to_the_end(four_runs, out)


def test_runs_made_by_another_stack_are_refused(four_runs: Path, out: Path) -> None:
    edited(runs_of(out)[0].run_json, '"threads": 1', '"threads": 8')
    code, said = gpt("study", "run", four_runs, "--out", out, home=out.parent)
    assert code == 2
    assert "made with threads = 8, now it is 1" in said


@pytest.mark.fault("a status or run.json of a finished run corrupt, while others are left to train")
def test_corrupt_files_of_some_runs_keep_no_other_from_being_trained(
    four_runs: Path, out: Path, tmp_path: Path
) -> None:
    before = contents(out)
    lost, corrupt, missing, _ = runs_of(out)
    lost.status_json.write_text("{}")
    corrupt.run_json.write_text("{}")
    missing.root.rename(tmp_path / "missing")
    code, said = run_command([*GPT, "study", "run", four_runs, "--out", out], tmp_path)
    assert code == 2, "a finished run whose bytes changed gets into no report"
    assert f"is tried again; it had failed: {lost.status_json}: corrupt" in said
    assert f"move {corrupt.root} away and run the study again" in said
    assert "Traceback" not in said
    assert [run.read_status().state for run in (lost, missing)] == ["done", "done"]
    corrupt.root.rename(tmp_path / "corrupt")
    assert contents(run_to_the_end(four_runs, out)) == before
    corrupt, *_ = runs_of(out)
    corrupt.metrics.write_bytes(corrupt.metrics.read_bytes()[:-1])
    code, said = gpt("study", "run", four_runs, "--out", out, home=tmp_path)
    assert (code, f"move {corrupt.root} away" in said) == (2, True), "with nothing left to train too"


def test_an_unfinished_run_whose_run_json_is_corrupt_fails_alone(four_runs: Path, out: Path) -> None:
    corrupt, missing = runs_of(out)[:2]
    corrupt.write_status(replace(corrupt.read_status(), state="preempted"))
    corrupt.run_json.write_text("{}")
    shutil.rmtree(missing.root)
    code, said = gpt("study", "run", four_runs, "--out", out, home=out.parent)
    assert code == 3
    named = rf"^not done: .*{corrupt.root.name}: {corrupt.run_json}: corrupt.*; move its folder away"
    assert re.search(named, said, re.MULTILINE), said
    assert missing.read_status().state == "done"
