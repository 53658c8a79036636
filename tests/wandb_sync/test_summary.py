"""Claims about what W&B is shown of a whole run."""

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic import LAYERS, Outcome, study, write_study

from gpt.analysis.run_reader import RunReader
from gpt.records.run_folder import RunFolder, load_arrays
from gpt.wandb_sync.summary import summary_of, tables


def first_run(out: Path, outcome: Outcome) -> RunFolder:
    write_study(out, study(seeds=2), lambda _: outcome)
    return RunFolder(min((out / "runs").iterdir()))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return first_run(tmp_path, Outcome(spikes=2, collapses=1, last_loss=1.5, scale=0.5, norm=2.0))


def test_the_summary_says_how_the_run_ended(run: RunFolder) -> None:
    summary = summary_of(run, run.read_status())
    assert summary["status"] == "done"
    assert summary["val/loss"] == {"min": 1.5}
    assert {key: n for key, n in summary.items() if key.startswith("events/")} == {
        "events/nonfinite": 0,
        "events/spike": 2,
        "events/grad_norm_spike": 0,
        "events/drift": 0,
        "events/oscillation": 0,
        "events/entropy_collapse": 1,
        "events/fast_step_left": 0,
    }


def test_the_summary_has_every_secondary_scalar_that_is_a_number_and_the_quantiles_of_gradients(run: RunFolder) -> None:
    summary = summary_of(run, run.read_status())
    scalars = {key.removeprefix("scalar/"): value for key, value in summary.items() if key.startswith("scalar/")}
    known = {name.replace(".", "/"): value for name, value in RunReader(run).secondary.items()}
    assert scalars == {name: value for name, value in known.items() if np.isfinite(value)}
    assert scalars["clipped_share"] == 0.9
    assert scalars["median_lookback"] in (2, 3)
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    for index, layer in enumerate(LAYERS):
        norms = [row["grad/layer_norm"][index] for row in rows if row["step"] > 5]
        for level in (5, 25, 50, 75, 95):
            got = summary[f"grad/layer_norm_quantile/{layer}/{level}%"]
            assert got == pytest.approx(np.percentile(norms, level))


def test_the_use_of_context_becomes_tables_with_every_number_of_the_file(run: RunFolder) -> None:
    found, arrays = tables(RunReader(run)), load_arrays(run.long_range)
    assert found["long_range/loss_by_position"] == (
        ["position", "loss"],
        [[i + 1, float(loss)] for i, loss in enumerate(arrays["loss_by_position"])],
    )
    assert found["long_range/context_loss"] == (
        ["characters", "loss"],
        [[n, float(loss)] for n, loss in zip([1, 2, 4, 8], arrays["context_loss"], strict=True)],
    )
    assert found["long_range/dependency"] == (
        ["characters back", "gradient"],
        [[i, float(size)] for i, size in enumerate(arrays["dependency"])],
    )


def test_events_become_a_table_in_their_order(run: RunFolder) -> None:
    columns, rows = tables(RunReader(run))["events"]
    assert columns == ["step", "kind", "about"]
    assert [(step, kind) for step, kind, _ in rows] == [(7, "spike"), (8, "spike"), (20, "entropy_collapse")]
    assert json.loads(rows[0][2]) == {"loss": 9.0, "median": 3.0}


def test_a_run_that_recorded_neither_has_no_tables_and_a_failed_one_a_summary(tmp_path: Path) -> None:
    bare = first_run(tmp_path / "bare", Outcome(long_range=False, probes=False))
    assert tables(RunReader(bare)) == {}
    assert "scalar/median_lookback" not in summary_of(bare, bare.read_status())
    failed = first_run(tmp_path / "failed", Outcome(state="failed", why="it rained"))
    summary = summary_of(failed, failed.read_status())
    assert (summary["status"], summary["why"]) == ("failed", "it rained")
    assert not any("quantile" in key for key in summary)
