"""The shipped batch scripts on a real Slurm cluster."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster import Cluster
from commands import GPT, layouts_of, records, run_command, runs_of
from tiny import study_of, write_run

from gpt.commands.studies import open_study
from gpt.commands.workspace import open_corpora
from gpt.records.run_folder import RunFolder
from gpt.study.folder import run_at

pytestmark = pytest.mark.slurm

LONG = 180.0
"""seconds within which a few tiny runs are trained, on a busy machine too"""
RARELY = {"train": {"eval_every": 50, "checkpoint_every": 20}, "probes": {"every": 200}}
"""how often a run evaluates, commits and measures"""


def submit(cluster: Cluster, repository: Path, study: Path, **variables: str) -> tuple[str, str]:
    """The numbers of the array and of the report that `submit.sh` prints."""
    said = cluster.run(repository / "slurm/submit.sh", study, **variables)
    found = re.fullmatch(r"array: (\d+), \d+ tasks\nreport: (\d+), .*\nlogs: .*\n", said)
    assert found, said
    return found[1], found[2]


def start(cluster: Cluster, repository: Path, study: Path, out: Path, *options: str, **variables: str) -> str:
    """The number of an array without a report."""
    log = f"--output={out}/slurm/%x-%A_%a.out"
    (out / "slurm").mkdir(parents=True)
    words = ["sbatch", "--parsable", "--cpus-per-task=1", log, *options, repository / "slurm/study.sbatch", study]
    return cluster.run(*words, "--out", out, **variables).strip()


def logs(out: Path) -> str:
    return "".join(f"== {path.name}\n{path.read_text()}" for path in sorted((out / "slurm").glob("*.out")))


def running(out: Path) -> list[RunFolder]:
    """The runs in the middle of their training."""
    started = runs_of(out) if (out / "runs").is_dir() else []
    return [run for run in started if run.read_status().state == "running" and list(run.checkpoints.glob("step-*"))]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    """Two variants, two seeds, long enough to be caught in the middle."""
    return study_of(tmp_path_factory.mktemp("study"), excerpt, RARELY, train={"steps": 300})


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, study: Path) -> dict[str, bytes]:
    """The records of the study, made without Slurm."""
    folder = tmp_path_factory.mktemp("whole")
    code, said = run_command([*GPT, "study", "run", study, "--out", folder / "out"], folder)
    assert code == 0, said
    return records(folder / "out")


@dataclass(frozen=True)
class Night:
    """An array of two tasks with one GPU each, and its report, ended."""

    out: Path
    array: str
    report: str
    broken: RunFolder
    """cannot be trained"""


@pytest.fixture(scope="module")
def night(
    tmp_path_factory: pytest.TempPathFactory,
    excerpt: Path,
    cluster: Cluster,
    repository: Path,
    environment: dict[str, str],
) -> Night:
    folder = tmp_path_factory.mktemp("night")
    path, out = study_of(folder, excerpt, RARELY, train={"steps": 50}), folder / "out"
    _, runs, _ = open_study(path, None, open_corpora())
    broken = run_at(out, runs[0].fingerprint)
    broken.metrics.mkdir(parents=True)  # where a file belongs
    plan = environment | {"GPT_OUT": str(out), "GPT_TASKS": "2", "GPT_CPUS": "1", "GPT_GPUS": "1"}
    array, report = submit(cluster, repository, path, **plan)
    cluster.until(lambda: cluster.ended(array, report), LONG)
    return Night(out, array, report, broken)


def test_an_array_trains_every_run_once(night: Night) -> None:
    runs = runs_of(night.out)
    assert len(runs) == 4
    trained = [run.read_status() for run in runs if run != night.broken]
    assert [(status.state, status.attempts) for status in trained] == [("done", 1)] * 3, logs(night.out)


def test_a_failed_run_still_leads_to_a_report_that_names_it(night: Night, cluster: Cluster) -> None:
    assert night.broken.read_status().state == "failed"
    assert cluster.job(f"{night.array}_0")["ExitCode"] == "3:0"
    assert cluster.job(night.report)["JobState"] == "COMPLETED"
    said = (night.out / f"slurm/gpt-report-{night.report}.out").read_text()
    assert "tiny: 3 of 4 runs finished" in said
    assert "failed: pre, seed 0: " in said
    assert "failed" in (night.out / "studies/tiny/report/report.md").read_text()


def test_each_task_sees_the_gpu_that_it_was_given(night: Night, cluster: Cluster) -> None:
    tasks = [cluster.job(f"{night.array}_{task}") for task in (0, 1)]
    assert len({task["NodeList"] for task in tasks}) == 1
    assert sorted(re.findall(r"1 cores, GPUs (.*)", logs(night.out))) == ["0", "1"]


@pytest.mark.fault("Slurm: a task preempted")
def test_a_preempted_last_task_goes_on_to_the_same_bytes_and_restarts_no_other(
    empty: Cluster, repository: Path, environment: dict[str, str], study: Path, uninterrupted: dict[str, bytes],
    tmp_path: Path,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    plan = environment | {"GPT_OUT": str(out), "GPT_TASKS": "2", "GPT_CPUS": "1", "GPT_PARTITION": "low"}
    array, report = submit(empty, repository, study, **plan, GPT_SBATCH="--exclusive")
    first, last = f"{array}_0", f"{array}_1"
    empty.until(lambda: len(running(out)) == 2, LONG)
    assert empty.job(last)["JobId"] == array, "the trap: the last task has the number of the array"
    node = empty.job(last)["NodeList"]
    empty.run("sbatch", "-p", "high", "-w", node, "--exclusive", "-o", "/dev/null", "--wrap", "true")
    empty.until(lambda: empty.ended(array, report), LONG)
    assert [empty.job(task)["Restarts"] for task in (first, last)] == ["0", "1"], logs(out)
    assert [empty.job(job)["JobState"] for job in (last, report)] == ["COMPLETED"] * 2, logs(out)
    assert sum(run.read_status().attempts for run in runs_of(out)) <= 4 + 1, "only the run in hand was begun again"
    assert records(out) == uninterrupted


@pytest.mark.fault("Slurm: a job cancelled")
def test_a_cancelled_task_stays_cancelled(
    empty: Cluster, repository: Path, environment: dict[str, str], study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    array = start(empty, repository, study, out, "--array=0", **environment)
    empty.until(lambda: running(out), LONG)
    empty.run("scancel", array)
    empty.until(lambda: empty.ended(array), LONG)
    assert empty.job(f"{array}_0")["JobState"] == "CANCELLED", logs(out)
    assert "preempted" in [run.read_status().state for run in runs_of(out)]


@pytest.mark.fault("Slurm: a node killed")
def test_the_runs_of_a_killed_node_are_finished_by_others(
    empty: Cluster, repository: Path, environment: dict[str, str], study: Path, uninterrupted: dict[str, bytes],
    tmp_path: Path,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    array = start(empty, repository, study, out, "--array=0-1", "--exclusive", **environment)
    empty.until(lambda: len(running(out)) == 2, LONG)
    lost = empty.job(f"{array}_1")["NodeList"]
    empty.kill_node(lost)
    empty.run("scontrol", "update", f"NodeName={lost}", "State=DOWN", "Reason=lost")  # found out at once
    empty.until(lambda: empty.ended(array), LONG)
    tasks = [empty.job(f"{array}_{task}") for task in (0, 1)]
    assert [task["Restarts"] for task in tasks] == ["0", "1"], logs(out)
    assert tasks[1]["NodeList"] != lost
    assert records(out) == uninterrupted


@pytest.mark.fault("Slurm: the warning before the time limit")
def test_ranks_on_two_nodes_share_a_run_and_go_on_after_the_warning_of_the_time_limit(
    empty: Cluster, repository: Path, environment: dict[str, str], excerpt: Path, tmp_path: Path
) -> None:
    run_file = write_run(tmp_path / "run.yaml", excerpt, RARELY, train={"steps": 100})
    out = tmp_path / "out"
    log = f"--output={tmp_path}/ddp.out"
    asked = ["train", run_file, "--out", out]
    job = empty.run("sbatch", "--parsable", log, repository / "slurm/ddp.sbatch", *asked, **environment).strip()
    empty.until(lambda: running(out), LONG)
    empty.run("scancel", "--batch", "--signal=USR1", job)
    empty.until(lambda: empty.ended(job), LONG)
    said = (tmp_path / "ddp.out").read_text()
    assert empty.job(job)["JobState"] == "COMPLETED", said
    assert empty.job(job)["Restarts"] == "1", said
    assert "stopped on request; run the same command again to resume" in said
    assert "Traceback" not in said
    (run,) = runs_of(out)
    assert (run.read_status().state, run.read_status().attempts) == ("done", 2)
    assert {layout["ranks"] for layout in layouts_of(run)} == {2}


def test_a_study_that_cannot_run_is_not_submitted(empty: Cluster, repository: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: ../../evil\n")
    ended = subprocess.run(
        [repository / "slurm/submit.sh", bad],
        env=empty.environment | {"GPT_OUT": str(tmp_path / "out")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert f"{bad}:1: name: " in ended.stderr
    assert empty.run("squeue", "--noheader") == ""
    assert not (tmp_path / "out").exists()
