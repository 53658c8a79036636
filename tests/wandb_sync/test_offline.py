"""Claims about W&B's offline files, read back and held against the records, by the real command."""

import html
import json
import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from commands import GPT, accelerate, gpt, rows_of, run_command, runs_of, started, wait_for
from expected import NOT_NUMBERS, expected_rows, same
from synthetic import Outcome, study, write_study
from wandb_files import OfflineRun, offline_runs

from gpt.analysis.run_reader import RunReader
from gpt.records.files import read_json
from gpt.records.run_folder import RunFolder, load_arrays


def run_runs(out: Path) -> dict[str, list[OfflineRun]]:
    """The W&B runs of runs, by run, in the order of their start."""
    found: dict[str, list[OfflineRun]] = {}
    for offline in offline_runs(out / "wandb"):
        if offline.job_type == "run":
            found.setdefault(offline.id, []).append(offline)
    return found


def history(runs: list[OfflineRun]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if key.split("/")[0] not in NOT_NUMBERS}
        for offline in runs
        for row in offline.history
    ]


def holds_all_of(runs: list[OfflineRun], run: RunFolder) -> None:
    """Every number of the run once, under its step, and how it ended."""
    assert [row["_step"] for offline in runs for row in offline.history] == [row["step"] for row in rows_of(run)]
    same(history(runs), expected_rows(run))
    last = runs[-1]
    status = run.read_status()
    assert last.summary["status"] == status.state
    losses = [row["val/loss"] for row in rows_of(run) if "val/loss" in row]
    assert last.summary["val/loss"]["min"] == min(losses)
    for name, value in RunReader(run).secondary.items():
        assert last.summary.get(f"scalar/{name.replace('.', '/')}", math.nan) == pytest.approx(value, nan_ok=True)
    assert last.exit_code == 0


def has_the_tables_of(offline: OfflineRun, run: RunFolder) -> None:
    """Every number of the run's use of context and its events, in the last row."""
    arrays = load_arrays(run.long_range)
    lengths = arrays["context_lengths"].tolist()
    expected = {
        "long_range/loss_by_position": list(enumerate(arrays["loss_by_position"].tolist(), start=1)),
        "long_range/context_loss": list(zip(lengths, arrays["context_loss"].tolist(), strict=True)),
        "long_range/dependency": list(enumerate(arrays["dependency"].tolist())),
    }
    for name, rows in expected.items():
        table = json.loads((offline.root / "files" / offline.history[-1][f"{name}/path"]).read_text())
        assert [tuple(row) for row in table["data"]] == rows
    happened = [json.loads(line) for line in run.events.read_text().splitlines()]
    assert ("events/path" in offline.history[-1]) == bool(happened)
    if happened:
        table = json.loads((offline.root / "files" / offline.history[-1]["events/path"]).read_text())
        assert [row[:2] for row in table["data"]] == [[event["step"], event["kind"]] for event in happened]


@pytest.fixture
def two_seeds(tiny_study: Path) -> Path:
    tiny_study.write_text(tiny_study.read_text().replace("seeds: 3", "seeds: 2"))
    return tiny_study


AGENT = {
    "WANDB_RUN_ID": "abc123", "WANDB_SWEEP_ID": "sweep7", "WANDB_RESUME": "must", "WANDB_NAME": "mine",
    "WANDB_RUN_GROUP": "mine", "WANDB_JOB_TYPE": "mine", "WANDB_TAGS": "a,b", "WANDB_SERVICE": "3-1-tcp-localhost-1-1",
    "WANDB_X_PRIMARY": "false", "WANDB_DISABLED": "true", "WANDB_IGNORE_GLOBS": "*",
}  # fmt: skip
"""what W&B's agent, or a script of the user's, says of the one run that it means"""


@pytest.mark.slow
def test_a_study_is_synced_while_it_runs_one_run_for_each_run(
    two_seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in AGENT.items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "out"
    words = [*GPT, "study", "run", two_seeds, "--out", out, "--processes", "2", "--wandb", "offline"]
    code, said = run_command(words, tmp_path)
    assert code == 0, said
    assert "wandb" not in said
    by_run = run_runs(out)
    assert len(by_run) == 4
    for run in runs_of(out):
        runs = by_run[run.root.name]
        assert len(runs) == 1
        holds_all_of(runs, run)
        about, kept = runs[0], read_json(run.run_json)
        arm = kept["config"]["model"]["norm_placement"]
        assert (about.project, about.group, about.name) == ("tiny", arm, f"{arm}-s{kept['seed']}")
        assert about.tags == ["tiny", arm]
        kept["config"]["data"]["source"] = Path(kept["config"]["data"]["source"]).name
        assert {key: about.config[key] for key in kept["config"]} == kept["config"]
        assert about.config["record"]["stack"] == kept["stack"]
        assert {metric.step_metric for metric in about.metrics if metric.glob_name == "*"} == {"step"}
        media = about.root / "files" / "media"
        shown = [row["step"] for row in rows_of(run) if row["step"] in (0, 20, 40)]
        assert [row["_step"] for row in about.history if "attention/path" in row] == shown
        assert len(list(media.glob("images/attention_*.png"))) == len(shown)
        has_the_tables_of(about, run)
        (sample,) = media.glob("html/sample_*.html")
        assert html.escape(run.samples.read_text()) in sample.read_text()
    reports = [offline for offline in offline_runs(out / "wandb") if offline.job_type == "report"]
    assert [(offline.project, offline.artifacts) for offline in reports] == [("tiny", ["tiny-report"])]


@pytest.mark.slow
def test_a_run_killed_and_resumed_is_synced_once(two_seeds: Path, tiny_file: Path, tmp_path: Path) -> None:
    """Every start of the command has a directory of its own, which `wandb sync` puts together in this order."""
    tiny_file.write_text(tiny_file.read_text().replace("steps: 40", "steps: 300"))
    out = tmp_path / "out"
    words = [*GPT, "study", "run", two_seeds, "--out", out, "--processes", "2", "--wandb", "offline"]
    with started(words, tmp_path) as command:
        wait_for(lambda: list(out.glob("runs/*/checkpoints/step-*/manifest.json")), command)
        os.killpg(command.process.pid, signal.SIGKILL)
        command.wait()
        command.leaves_nothing(30)
    assert any(run.read_status().state == "running" for run in runs_of(out))
    code, said = run_command(words, tmp_path)
    assert code == 0, said
    by_run = run_runs(out)
    assert {run.root.name for run in runs_of(out)} == set(by_run)
    assert max(map(len, by_run.values())) >= 2
    for run in runs_of(out):
        holds_all_of(by_run[run.root.name], run)


@pytest.mark.slow
def test_what_was_trained_without_wandb_is_synced_afterwards_and_once(
    two_seeds: Path, tiny_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, said = run_command([*GPT, "study", "run", two_seeds, "--out", out, "--wandb", "disabled"], tmp_path)
    assert code == 0, said
    assert not (out / "wandb").exists()
    shutil.rmtree(out / "studies" / "tiny" / "report" / "figures")
    code, said = run_command([*GPT, "wandb", "sync", out, "--mode", "offline"], tmp_path)
    assert (code, said) == (0, "W&B, offline: 5 of 5 runs and reports are synced\n")
    by_run = run_runs(out)
    for run in runs_of(out):
        assert len(by_run[run.root.name]) == 1
        holds_all_of(by_run[run.root.name], run)
    before = sorted((out / "wandb").glob("offline-run-*"))
    assert run_command([*GPT, "wandb", "sync", out, "--mode", "offline"], tmp_path)[0] == 0
    assert sorted((out / "wandb").glob("offline-run-*")) == before


@pytest.mark.launch
def test_two_ranks_that_train_one_run_have_one_run_where_the_environment_says(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "out"
    code, said = run_command([*accelerate("cpu", "--num_processes", "2"), "train", tiny_file, "--out", out], tmp_path)
    assert code == 0, said
    (run,) = runs_of(out)
    (offline,) = offline_runs(tmp_path / "elsewhere" / "wandb")
    assert (offline.id, offline.project, offline.name) == (run.root.name, "mine", f"{run.root.name[:8]}-s0")
    holds_all_of([offline], run)


def test_a_number_that_is_not_finite_is_synced_as_that(tmp_path: Path) -> None:
    write_study(tmp_path / "out", study(seeds=2), lambda _: Outcome(state="diverged", nan_at=30, why="not finite"))
    code, said = gpt("wandb", "sync", tmp_path / "out", "--mode", "offline", home=tmp_path)
    assert code == 0, said
    for run in runs_of(tmp_path / "out"):
        (offline,) = run_runs(tmp_path / "out")[run.root.name]
        same(history([offline]), expected_rows(run))
        assert math.isnan(offline.history[30]["train/loss"])
        assert (offline.summary["status"], offline.summary["why"]) == ("diverged", "not finite")
        assert json.loads(run.metrics.read_text().splitlines()[30])["train/loss"] is None


@pytest.mark.slow
def test_two_syncs_at_a_time_send_each_run_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_study(out, study(seeds=2), lambda _: Outcome())
    words = [*GPT, "wandb", "sync", out, "--mode", "offline"]
    with started(words, tmp_path) as one, started(words, tmp_path) as other:
        assert 0 in (one.wait(), other.wait())
    assert [len(runs) for runs in run_runs(out).values()] == [1] * 4
    assert run_command(words, tmp_path)[0] == 0
    assert [len(runs) for runs in run_runs(out).values()] == [1] * 4


def test_a_corrupt_run_is_named_and_the_others_are_synced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_study(out, study(seeds=2), lambda _: Outcome())
    corrupt, *others = runs_of(out)
    corrupt.metrics.write_text("{}\n" + corrupt.metrics.read_text())
    code, said = gpt("wandb", "sync", out, "--mode", "offline", home=tmp_path)
    assert code == 3
    assert "4 of 5 runs and reports are synced" in said
    assert f"{corrupt.metrics}: corrupt" in (out / "wandb" / "sync.log").read_text()
    for run in others:
        holds_all_of(run_runs(out)[run.root.name], run)
