"""Claims about what a run's folder has for W&B."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from expected import HEADS
from hypothesis import given
from hypothesis import strategies as st
from synthetic import LAYERS, STEPS, Outcome, study, write_study

from gpt.analysis.run_reader import RunReader
from gpt.errors import InputError
from gpt.records.run_folder import RunFolder, load_arrays, save_arrays
from gpt.wandb_sync.rows import PIXELS, RowReader, heatmap_due, heatmaps, probed, scalars


def line(step: int, pad: str = "") -> str:
    return json.dumps({"step": step, "train/loss": step / 7, "pad": pad}) + "\n"


def steps(rows: list[dict]) -> list[int]:
    return [row["step"] for row in rows]


def test_rows_are_given_out_once_and_the_last_waits_for_what_follows_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    reader = RowReader(path, -1)
    assert reader.new(finished=False) == []
    path.write_text(line(0) + line(1) + line(2)[:9])
    assert steps(reader.new(finished=False)) == [0]
    assert reader.new(finished=False) == []
    path.write_text(line(0) + line(1) + line(2))
    assert steps(reader.new(finished=False)) == [1]
    assert steps(reader.new(finished=True)) == [2]
    assert reader.new(finished=True) == []


def test_steps_that_were_synced_before_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(map(line, range(9))))
    assert steps(RowReader(path, 5).new(finished=True)) == [6, 7, 8]


@pytest.mark.parametrize("pad", ["", "other", "another length altogether"])
def test_rows_cut_back_and_written_again_are_not_given_out_twice(tmp_path: Path, pad: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(line(step, "first") for step in range(20)))
    reader = RowReader(path, -1)
    assert steps(reader.new(finished=False)) == list(range(19))
    path.write_text("".join(line(step, "first" if step < 10 else pad) for step in range(25)))
    assert steps(reader.new(finished=True)) == list(range(19, 25))


@given(st.data())
def test_whatever_is_cut_and_written_when_each_row_is_given_out_once(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Against the naive reference: the file as it is in the end."""
    path = tmp_path_factory.mktemp("rows") / "metrics.jsonl"
    whole = "".join(line(step, "x" * (step % 3)) for step in range(12)).encode()
    reader, given_out = RowReader(path, -1), []
    for _ in range(data.draw(st.integers(0, 6))):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
        given_out += reader.new(finished=False)
    path.write_bytes(whole)
    given_out += reader.new(finished=True)
    assert given_out == [json.loads(row) for row in whole.splitlines()]


@pytest.mark.parametrize("damage", ["{}\n", "[]\n", "no\n", line(0), '{"step": "1"}\n'])
def test_a_corrupt_row_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(0) + damage)
    with pytest.raises(InputError, match="corrupt, must hold rows in step order"):
        RowReader(path, -1).new(finished=True)


def test_a_row_is_taken_apart_into_named_numbers(run: RunFolder) -> None:
    row = {
        "step": 3,
        "train/loss": None,
        "grad/layer_norm": [1.0, None, 2.0, 0.0],
        "grad/micro_batch_norm": [0.25, 0.5],
    }
    found = scalars(row, RunReader(run))
    assert math.isnan(found.pop("train/loss"))
    assert math.isnan(found.pop("grad/layer_norm/layer 0"))
    assert found == {
        "step": 3,
        "grad/layer_norm/embedding": 1.0,
        "grad/layer_norm/layer 1": 2.0,
        "grad/layer_norm/head": 0.0,
        "grad/micro_batch_norm/0": 0.25,
        "grad/micro_batch_norm/1": 0.5,
    }


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    write_study(tmp_path, study(seeds=2), lambda _: Outcome(spikes=2, last_loss=1.5))
    return RunFolder(min((tmp_path / "runs").iterdir()))


def test_probe_arrays_become_numbers_by_layer_and_head(run: RunFolder) -> None:
    arrays = load_arrays(run.probe_file(20))
    found = probed(20, RunReader(run))
    naive = {}
    for name in HEADS:
        for layer in range(2):
            for head in range(2):
                naive[f"probe/{name}/layer {layer}/head {head}"] = arrays[name][layer, head]
    for name in ("residual_rms", "residual_max", "residual_kurtosis"):
        for layer, value in zip(["embedding", "layer 0", "layer 1"], arrays[name], strict=True):
            naive[f"probe/{name}/{layer}"] = value
    for layer, value in zip(["layer 0", "layer 1"], arrays["dead_share"], strict=True):
        naive[f"probe/dead_share/{layer}"] = value
    for name, value in zip(LAYERS, arrays["update_ratio"], strict=True):
        naive[f"probe/update_ratio/{name}"] = value
    np.testing.assert_equal(found, {key: float(value) for key, value in naive.items()})
    assert probed(21, RunReader(run)) == {}


@pytest.mark.parametrize("step", [0, 20, STEPS])
def test_the_heatmap_shows_each_head_of_a_probed_step(run: RunFolder, step: int) -> None:
    picture = heatmaps(step, RunReader(run))["attention"]
    weights = load_arrays(run.probe_file(step))["attention_heatmap"].astype(np.float64)
    side = (8 + 1) * PIXELS
    assert picture.shape == (2 * side, 2 * side)
    for layer in range(2):
        for head in range(2):
            tile = picture[layer * side : (layer + 1) * side, head * side : (head + 1) * side]
            shown = 255.0 - tile[: 8 * PIXELS : PIXELS, : 8 * PIXELS : PIXELS]
            np.testing.assert_allclose(shown, 255 * weights[layer, head] / weights[layer, head].max(), atol=0.5)


def test_heatmaps_are_shown_at_the_first_step_and_ever_more_rarely_after() -> None:
    assert [step for step in range(2001) if heatmap_due(step, 100)] == [0, 100, 200, 400, 800, 1600]
    assert not any(heatmap_due(step, 0) for step in range(5))


def test_a_step_that_was_not_probed_has_no_picture(run: RunFolder) -> None:
    assert heatmaps(21, RunReader(run)) == {}


def test_arrays_that_nobody_declared_are_numbered_by_position(run: RunFolder) -> None:
    save_arrays(run.probe_file(60), {"unknown": np.array([[1.0, 2.0]]), "alone": np.array(3.0)}, {})
    found = probed(60, RunReader(run))
    assert found == {"probe/unknown/0/0": 1.0, "probe/unknown/0/1": 2.0, "probe/alone": 3.0}
