"""Claims about whole studies, each run by the real command in processes of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gpt.records.run_folder import RunFolder
from gpt.study.folder import StudyFolder

RUN = [sys.executable, "-m", "gpt", "study", "run"]
RECORDS = ("metrics.jsonl", "events.jsonl", "samples.txt", "model/config.json", "model/model.safetensors", "run.json")


def run_study(study: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RUN, str(study), "--out", str(out), *more], capture_output=True, text=True, timeout=300)


def runs_of(out: Path) -> list[RunFolder]:
    return [RunFolder(path) for path in sorted((out / "runs").iterdir())]


def wait_for(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def descendants(pid: int) -> set[int]:
    children: dict[int, set[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            children.setdefault(int(fields[1]), set()).add(int(stat.parent.name))
    found, queue = set(), [pid]
    while queue:
        new = children.get(queue.pop(), set()) - found
        found |= new
        queue += new
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def contents(out: Path) -> dict[str, bytes]:
    """Every record that must not depend on how the runs were run."""
    files = {f"{run.root.name}/{name}": (run.root / name).read_bytes() for run in runs_of(out) for name in RECORDS}
    probes = [run.probe_file(step) for run in runs_of(out) for step in run.probe_steps()]
    files |= {str(path.relative_to(out)): path.read_bytes() for path in probes}
    return files | {"findings": StudyFolder(out, "tiny").findings.read_bytes()}


@pytest.fixture(scope="module")
def long_study(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    """Two variants, two seeds, long enough to be caught in the middle."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "run.yaml").write_text(
        f"data: {{source: {excerpt}, val_fraction: 0.1}}\n"
        "model: {layers: 2, heads: 2, width: 16, context: 16, position: rope, norm_placement: pre, dropout: 0.1}\n"
        "optim: {lr: 3e-3, final_lr_ratio: 0.1, warmup_steps: 5, clip: 1.0}\n"
        "train: {steps: 400, batch_size: 4, eval_every: 50, checkpoint_every: 30}\n"
        "probes: {every: 70, windows: 2, heatmap_characters: 8}\n"
        "sample: {characters: 20}\n"
    )
    path = folder / "study.yaml"
    path.write_text(
        "name: tiny\nquestion: Which placement?\nbase: run.yaml\nfactor: model.norm_placement\n"
        "variants: [pre, post]\nseeds: 2\nsmallest_effect: 0.01\n"
    )
    return path


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, long_study: Path) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    done = run_study(long_study, out)
    assert done.returncode == 0, done.stderr
    return out


def test_a_study_leaves_every_record_and_a_report(uninterrupted: Path) -> None:
    runs = runs_of(uninterrupted)
    assert len(runs) == 4
    for run in runs:
        assert run.read_status().state == "done"
        rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
        assert [row["step"] for row in rows] == list(range(401))
        assert [row["step"] for row in rows if "val/loss" in row] == list(range(0, 401, 50))
        assert run.probe_steps() == [0, 70, 140, 210, 280, 350, 400]
        assert len(run.samples.read_text()) == 21
        assert not list(run.checkpoints.glob("*"))
    assert (StudyFolder(uninterrupted, "tiny").report / "report.md").exists()


def test_a_second_run_does_nothing_but_say_so(long_study: Path, uninterrupted: Path) -> None:
    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*") if path.is_file()}

    before = stamps()
    again = run_study(long_study, uninterrupted)
    assert again.returncode == 0
    assert "nothing to do: all 4 runs are done" in again.stderr
    assert stamps() == before


@pytest.mark.fault("kill -9 of a whole command")
def test_a_study_killed_twice_ends_with_the_same_bytes(long_study: Path, uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for checkpoints in (1, 3):
        started = subprocess.Popen([*RUN, str(long_study), "--out", str(out)], start_new_session=True)
        seen: set[Path] = set()

        def committed(seen: set[Path] = seen, want: int = checkpoints) -> bool:
            seen.update(out.glob("runs/*/checkpoints/step-*/manifest.json"))
            return len(seen) >= want

        wait_for(committed)
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    states = {run.read_status().state for run in runs_of(out)}
    assert "running" in states
    done = run_study(long_study, out)
    assert done.returncode == 0, done.stderr
    assert contents(out) == contents(uninterrupted)


@pytest.mark.fault("a request to stop: Ctrl-C, SIGTERM, SIGUSR1, SIGHUP")
def test_an_interrupt_checkpoints_says_so_and_the_same_command_goes_on(
    long_study: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    started = subprocess.Popen(
        [*RUN, str(long_study), "--out", str(out)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(lambda: list(out.glob("runs/*/checkpoints/step-*")))
    workers = descendants(started.pid)
    os.killpg(started.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
    _, said = started.communicate(timeout=60)
    assert started.returncode == 75
    assert "run the same command again to resume" in said
    assert "Traceback" not in said
    wait_for(lambda: not any(alive(pid) for pid in workers), 10)
    stopped = [run for run in runs_of(out) if run.read_status().state == "preempted"]
    assert stopped
    assert run_study(long_study, out).returncode == 0
    assert contents(out) == contents(uninterrupted)


@pytest.mark.fault("a command, launcher or supervisor killed")
def test_no_worker_outlives_a_killed_command(long_study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    started = subprocess.Popen([*RUN, str(long_study), "--out", str(out)])
    wait_for(lambda: list(out.glob("runs/*/checkpoints/step-*")))
    workers = descendants(started.pid)
    assert len(workers) >= 2
    started.kill()
    started.wait()
    wait_for(lambda: not any(alive(pid) for pid in workers), 30)


def test_a_failing_run_is_named_and_the_others_go_on(tiny_study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run_study(tiny_study, out, "--seeds", "2").returncode == 0
    broken = runs_of(out)[0]
    for path in (broken.metrics, broken.status_json, broken.run_json):
        path.unlink()
    broken.metrics.mkdir()
    ended = run_study(tiny_study, out, "--seeds", "2")
    assert ended.returncode == 3
    assert broken.root.name in ended.stderr
    assert broken.read_status().state == "failed"
    broken.metrics.rmdir()
    assert run_study(tiny_study, out, "--seeds", "2").returncode == 0


def test_runs_made_by_another_stack_are_refused(tiny_study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run_study(tiny_study, out, "--seeds", "2").returncode == 0
    path = runs_of(out)[0].run_json
    path.write_text(path.read_text().replace('"threads": 1', '"threads": 8'))
    ended = run_study(tiny_study, out, "--seeds", "2")
    assert ended.returncode == 2
    assert "made with threads = 8, now it is 1" in ended.stderr


@pytest.mark.fault("a status or run.json of a finished run corrupt, while others are left to train")
def test_corrupt_files_of_some_runs_keep_no_other_from_being_trained(tiny_study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run_study(tiny_study, out, "--seeds", "2").returncode == 0
    before = contents(out)
    lost, corrupt, missing, _ = runs_of(out)
    lost.status_json.write_text("{}")
    corrupt.run_json.write_text("{}")
    missing.root.rename(tmp_path / "missing")
    ended = run_study(tiny_study, out, "--seeds", "2")
    assert ended.returncode == 2, "a finished run whose bytes changed gets into no report"
    assert f"is tried again; it had failed: {lost.status_json}: corrupt" in ended.stderr
    assert f"move {corrupt.root} away and run the study again" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [run.read_status().state for run in (lost, missing)] == ["done", "done"]
    corrupt.root.rename(tmp_path / "corrupt")
    ended = run_study(tiny_study, out, "--seeds", "2")
    assert ended.returncode == 0, ended.stderr
    assert contents(out) == before
    corrupt, *_ = runs_of(out)
    corrupt.metrics.write_bytes(corrupt.metrics.read_bytes()[:-1])
    ended = run_study(tiny_study, out, "--seeds", "2")
    assert (ended.returncode, f"move {corrupt.root} away" in ended.stderr) == (2, True), (
        "with nothing left to train too"
    )


def test_an_unfinished_run_whose_run_json_is_corrupt_fails_alone(tiny_study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run_study(tiny_study, out, "--seeds", "2").returncode == 0
    corrupt, missing = runs_of(out)[:2]
    corrupt.write_status(replace(corrupt.read_status(), state="preempted"))
    corrupt.run_json.write_text("{}")
    missing.root.rename(tmp_path / "missing")
    ended = run_study(tiny_study, out, "--seeds", "2")
    assert ended.returncode == 3
    named = rf"^not done: .*{corrupt.root.name}: {corrupt.run_json}: corrupt.*; move the run's folder away"
    assert re.search(named, ended.stderr, re.MULTILINE), ended.stderr
    assert missing.read_status().state == "done"


@pytest.mark.fault("two commands on one output folder")
def test_two_commands_racing_on_one_folder_train_each_run_once(tiny_study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [*RUN, str(tiny_study), "--out", str(out)]
    both = [subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    assert run_study(tiny_study, out).returncode == 0
    assert [run.read_status().attempts for run in runs_of(out)] == [1] * 6


def test_a_command_that_finds_runs_taken_says_so_and_has_not_failed(tiny_study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run_study(tiny_study, out, "--seeds", "2").returncode == 0
    taken = runs_of(out)[0]
    taken.write_status(replace(taken.read_status(), state="running"))
    with taken.try_lease():
        ended = run_study(tiny_study, out, "--seeds", "2")
    assert ended.returncode == 0, ended.stderr
    assert "left to the commands that are training them: 1 of 4 runs" in ended.stderr
