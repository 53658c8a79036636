"""Claims about held-out text: choices read the validation windows, verdicts the test windows, and both are exact."""

from pathlib import Path

import numpy as np
import pytest
import torch
from whole_runs import last_weights, never, place, planned, rows, stop_after, trained

from gpt.config import RunConfig, with_values
from gpt.data.corpus import default_cache
from gpt.data.dataset import load_dataset
from gpt.records.run_folder import RunFolder, load_arrays
from gpt.records.schema import WINDOW_IS_TEST, WINDOW_LOSS_BEST, WINDOW_LOSS_LAST
from gpt.runner.checks.verify import verify
from gpt.runner.seed_batch import train_seed_batch
from gpt.study.folder import run_at
from gpt.train.saved_model import load_model

LOSSES = ("val/loss", "test/loss", "heldout/loss")


@pytest.fixture
def overfitting(tiny: RunConfig, excerpt: Path, tmp_path: Path) -> RunConfig:
    """A run whose best evaluation is neither the first nor the last."""
    short = tmp_path / "short.txt"
    short.write_text(excerpt.read_text()[:1500])
    changes = {"data.source": str(short), "train.steps": 120, "model.width": 64, "train.batch_size": 32}
    return with_values(tiny, {**changes, "optim.lr": 1e-2, "train.eval_every": 10}, "test")


def evaluations(run: RunFolder) -> list[dict[str, float]]:
    return [row for row in rows(run) if "val/loss" in row]


def test_test_text_has_no_say_in_what_is_trained_or_saved(overfitting: RunConfig, tmp_path: Path) -> None:
    """Another test text, of the same characters: every other byte stays."""
    source = Path(overfitting.data.source)
    text = source.read_text()
    data = load_dataset(overfitting.data, overfitting.model.context, default_cache())
    other = tmp_path / "other.txt"
    other.write_text(text[: -len(data.test) + 1] + text[-len(data.test) + 1 :][::-1])
    one, two = (
        trained(with_values(overfitting, {"data.source": str(path)}, "test"), tmp_path / path.stem)
        for path in (source, other)
    )
    assert [row["test/loss"] for row in evaluations(one)] != [row["test/loss"] for row in evaluations(two)]
    kept = [{key: value for key, value in row.items() if key not in LOSSES[1:]} for row in rows(one)]
    assert kept == [{key: value for key, value in row.items() if key not in LOSSES[1:]} for row in rows(two)]
    assert last_weights(one) == last_weights(two)
    for file in ("model/model.safetensors", "events.jsonl", "samples.txt", "long_range.safetensors"):
        assert (one.root / file).read_bytes() == (two.root / file).read_bytes()
    for step in one.probe_steps():
        assert one.probe_file(step).read_bytes() == two.probe_file(step).read_bytes()


def test_dividing_the_held_out_text_changes_no_training_and_keeps_its_loss(tiny: RunConfig, tmp_path: Path) -> None:
    whole, divided = (trained(with_values(tiny, {"data.test_share": share}, "test"), tmp_path) for share in (0.0, 0.25))
    assert last_weights(whole) == last_weights(divided)
    assert [row["val/loss"] for row in evaluations(whole)] == [row["heldout/loss"] for row in evaluations(divided)]
    assert not {*LOSSES[1:]} & {key for row in rows(whole) for key in row}
    assert not whole.window_losses.exists()
    stripped = [{k: v for k, v in row.items() if k not in LOSSES} for row in rows(whole)]
    assert stripped == [{k: v for k, v in row.items() if k not in LOSSES} for row in rows(divided)]


def test_each_loss_is_the_mean_over_its_windows(overfitting: RunConfig, tmp_path: Path) -> None:
    """Those that are kept of the best and the last step, and those that the saved model gives, window by window."""
    run = trained(overfitting, tmp_path)
    arrays = load_arrays(run.window_losses)
    is_test = arrays[WINDOW_IS_TEST]
    found = evaluations(run)
    best = min(found, key=lambda row: row["val/loss"])
    assert 0 < best["step"] < overfitting.train.steps, "the run must overfit for this to say anything"
    for row, name in ((best, WINDOW_LOSS_BEST), (found[-1], WINDOW_LOSS_LAST)):
        losses = arrays[name].astype(np.float64)
        means = (losses[~is_test].mean(), losses[is_test].mean(), losses.mean())
        assert [row[key] for key in LOSSES] == pytest.approx(means, abs=1e-12)
        share = is_test.mean()
        assert row["heldout/loss"] == pytest.approx((1 - share) * row["val/loss"] + share * row["test/loss"], abs=1e-12)

    model, tokenizer, context = load_model(run.model)
    text = Path(overfitting.data.source).read_text()
    held_out = tokenizer.encode(text)[int(len(text) * 0.9) :]
    naive = []
    for start in range(0, len(held_out) - context, context):
        window = torch.from_numpy(held_out[start : start + context + 1])
        logits, _ = model(window[None, None, :-1])
        naive.append(torch.nn.functional.cross_entropy(logits[0, 0].double(), window[1:]).item())
    assert arrays[WINDOW_LOSS_BEST] == pytest.approx(naive, abs=1e-5)
    assert is_test.tolist() == [False] * (len(naive) - len(naive) // 2) + [True] * (len(naive) // 2)


@pytest.mark.parametrize("after", [75, *(pytest.param(n, marks=pytest.mark.slow) for n in (25, 118))])
def test_a_run_that_was_stopped_keeps_the_same_windows(after: int, overfitting: RunConfig, tmp_path: Path) -> None:
    whole = trained(overfitting, tmp_path / "whole")
    run = planned(overfitting)
    assert not train_seed_batch([run], place(tmp_path / "parts"), stop_after(after))
    assert train_seed_batch([run], place(tmp_path / "parts"), never)
    resumed = run_at(tmp_path / "parts", run.fingerprint)
    for file in ("window_losses.safetensors", "metrics.jsonl", "model/model.safetensors"):
        assert (resumed.root / file).read_bytes() == (whole.root / file).read_bytes()


def test_seeds_trained_together_keep_each_its_own_windows(tiny: RunConfig, tmp_path: Path) -> None:
    together = [planned(with_values(tiny, {"seed": seed}, "test")) for seed in (3, 5)]
    assert train_seed_batch(together, place(tmp_path), never)
    for run in (run_at(tmp_path, run.fingerprint) for run in together):
        arrays, last = load_arrays(run.window_losses), evaluations(run)[-1]
        tested = arrays[WINDOW_LOSS_LAST][arrays[WINDOW_IS_TEST]].astype(np.float64)
        assert tested.mean() == pytest.approx(last["test/loss"], abs=1e-12)


def test_verify_misses_the_windows_of_a_run_with_test_text(tiny: RunConfig, tmp_path: Path) -> None:
    run = trained(tiny, tmp_path)
    assert verify(run.root).wrong == []
    run.window_losses.unlink()
    assert any("window_losses.safetensors" in line for line in verify(run.root).wrong)


def test_texts_of_ones_own_are_trained_on_and_judged_by(tiny: RunConfig, excerpt: Path, tmp_path: Path) -> None:
    """The same run as of one text: cut by hand where it would be cut."""
    text = excerpt.read_text()
    data = load_dataset(tiny.data, tiny.model.context, default_cache())
    cuts = {"source": (0, len(data.train)), "val_source": (len(data.train), len(data.train) + len(data.val)),
            "test_source": (len(text) - len(data.test), len(text))}  # fmt: skip
    for name, (start, end) in cuts.items():
        (tmp_path / name).write_text(text[start:end])
    own = with_values(tiny, {f"data.{name}": str(tmp_path / name) for name in cuts}, "test")
    one, cut = trained(tiny, tmp_path / "one"), trained(own, tmp_path / "cut")
    assert one.root.name != cut.root.name
    assert rows(one) == rows(cut)
    assert one.window_losses.read_bytes() == cut.window_losses.read_bytes()
