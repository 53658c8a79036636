"""Claims about whole runs: what probes, interruption and neighbours may not change."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from whole_runs import last_weights, never, place, planned, rows, stop_after, trained

from gpt.config import RunConfig, with_values
from gpt.data.batches import training_batch
from gpt.data.corpus import default_cache
from gpt.data.dataset import Dataset, load_dataset
from gpt.errors import InputError
from gpt.model.gpt import GPT, build_model, token_losses
from gpt.records.files import read_json, write_json
from gpt.records.run_folder import load_arrays
from gpt.runner.resume import resumable_steps
from gpt.runner.seed_batch import train_seed_batch
from gpt.study.folder import run_at
from gpt.train import checkpoint, loop
from gpt.train.engines.engine import Engine
from gpt.train.recorder import RunRecorder
from gpt.train.run_writer import RunWriter
from gpt.train.saved_model import load_model


def test_probes_on_and_off_train_to_the_same_bits(tiny: RunConfig, tmp_path: Path) -> None:
    with_probes = trained(tiny, tmp_path)
    without = trained(with_values(tiny, {"probes.every": 0}, "test"), tmp_path)
    assert with_probes.probe_steps()
    assert not without.probe_steps()
    assert last_weights(with_probes) == last_weights(without)
    assert rows(with_probes) == rows(without)


def test_measuring_the_use_of_context_changes_no_bit_and_can_be_left_out(tiny: RunConfig, tmp_path: Path) -> None:
    with_it = trained(tiny, tmp_path)
    without = trained(with_values(tiny, {"probes.long_range_windows": 0}, "test"), tmp_path)
    assert {name: array.shape for name, array in load_arrays(with_it.long_range).items()} == {
        "loss_by_position": (32,),
        "context_lengths": (5,),
        "context_loss": (5,),
        "dependency": (16,),
    }
    assert not without.long_range.exists()
    assert last_weights(with_it) == last_weights(without)
    assert rows(with_it) == rows(without)


@pytest.mark.parametrize("position", ["learned", "rope", "sinusoidal", "alibi", "none"])
def test_losses_by_position_reach_as_far_as_the_positions_do(position: str, tiny: RunConfig, tmp_path: Path) -> None:
    """Within the trained context they are those of the evaluation, up to the windows that they are measured on."""
    run = trained(with_values(tiny, {"model.position": position}, "test"), tmp_path)
    loss_X = load_arrays(run.long_range)["loss_by_position"]
    assert loss_X.shape == ((16,) if position == "learned" else (32,))
    assert loss_X[:16].mean() == pytest.approx(rows(run)[-1]["val/loss"], abs=0.1)


def test_a_text_too_short_for_longer_windows_is_measured_within_the_context(
    tiny: RunConfig, excerpt: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short.txt"
    short.write_text(excerpt.read_text()[:250])
    run = trained(with_values(tiny, {"data.source": str(short), "data.test_share": 0}, "test"), tmp_path)
    assert load_arrays(run.long_range)["loss_by_position"].shape == (16,)


def test_an_order_seed_changes_the_batches_and_leaves_the_initial_weights(tiny: RunConfig, tmp_path: Path) -> None:
    own, other, same_order = (
        rows(trained(with_values(tiny, values, "test"), tmp_path))
        for values in ({"seed": 3}, {"seed": 3, "data.order_seed": 7}, {"seed": 7})
    )
    assert own[0]["val/loss"] == other[0]["val/loss"] != same_order[0]["val/loss"]
    assert own[1]["train/loss"] != other[1]["train/loss"]
    config, data = tiny.model, load_dataset(tiny.data, tiny.model.context, default_cache())
    model = build_model(config, data.tokenizer.vocabulary_size, (3,))
    batch = torch.from_numpy(training_batch(data.train, [7], 1, range(tiny.train.batch_size), config.context))
    with torch.no_grad():
        expected = token_losses(model(batch[..., :-1])[0], batch[..., 1:]).mean()
    assert other[1]["train/loss"] == pytest.approx(expected.item(), abs=1e-5)


def test_an_order_seed_holds_for_all_seeds_trained_together(tiny: RunConfig, tmp_path: Path) -> None:
    configs = [with_values(tiny, {"seed": seed, "data.order_seed": 5}, "test") for seed in (3, 5)]
    together = [planned(config) for config in configs]
    assert train_seed_batch(together, place(tmp_path / "seed batch"), never)
    for config, run in zip(configs, together, strict=True):
        solo, packed = trained(config, tmp_path / "solo"), run_at(tmp_path / "seed batch", run.fingerprint)
        for a, b in zip(rows(solo), rows(packed), strict=True):
            np.testing.assert_allclose(a.get("train/loss", 0), b.get("train/loss", 0), rtol=1e-3, atol=1e-5)


def test_attention_that_collapses_is_an_event_and_no_divergence(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The threshold is raised above every entropy; a run broken off and gone on with tells it once, at one step."""
    monkeypatch.setattr("gpt.train.events.COLLAPSED_SHARE", 2.0)
    whole = trained(tiny, tmp_path / "whole")
    (event,) = [json.loads(line) for line in whole.events.read_text().splitlines()]
    assert (event["step"], event["kind"], event["layer"]) == (0, "entropy_collapse", 0)
    assert event["entropy"] < event["at_most"]
    assert whole.read_status().state == "done"
    run = planned(tiny)
    assert not train_seed_batch([run], place(tmp_path / "twice"), stop_after(25))
    assert train_seed_batch([run], place(tmp_path / "twice"), never)
    assert run_at(tmp_path / "twice", run.fingerprint).events.read_bytes() == whole.events.read_bytes()


def test_a_run_stopped_at_any_step_resumes_to_the_same_bytes(tiny: RunConfig, tmp_path: Path) -> None:
    tiny = with_values(tiny, {"model.dropout": 0.1}, "test")
    whole = trained(tiny, tmp_path / "whole")
    for step in (1, 7, 19, 20, 39):
        out = tmp_path / str(step)
        run = planned(tiny)
        assert not train_seed_batch([run], place(out), stop_after(step))
        resumed = run_at(out, run.fingerprint)
        assert resumed.read_status().state == "preempted"
        assert resumed.read_status().step == step
        assert train_seed_batch([run], place(out), never)
        for name in ("metrics.jsonl", "events.jsonl", "samples.txt", "model/model.safetensors", "run.json"):
            assert (resumed.root / name).read_bytes() == (whole.root / name).read_bytes(), (step, name)
        assert resumed.probe_steps() == whole.probe_steps()
        assert resumed.long_range.read_bytes() == whole.long_range.read_bytes()


def test_rows_of_a_device_that_runs_ahead_are_the_same_rows(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written one flush later, by an engine that is asked to behave as on a GPU."""
    whole = trained(tiny, tmp_path / "whole")
    monkeypatch.setattr(Engine, "runs_ahead", True)
    monkeypatch.setattr("gpt.train.run_writer.FLUSH_EVERY", 3)
    run, written = planned(tiny), []
    append = RunRecorder.write
    monkeypatch.setattr(
        RunRecorder, "write", lambda self, rows, *more: written.append(len(rows)) or append(self, rows, *more)
    )
    assert not train_seed_batch([run], place(tmp_path / "late"), stop_after(25))
    assert train_seed_batch([run], place(tmp_path / "late"), never)
    late = run_at(tmp_path / "late", run.fingerprint)
    assert late.metrics.read_bytes() == whole.metrics.read_bytes()
    assert late.events.read_bytes() == whole.events.read_bytes()
    assert last_weights(late) == last_weights(whole)
    assert max(written) == 3
    assert sum(written) == 41


def test_texts_of_seeds_that_are_written_together_are_those_of_each(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = [planned(with_values(tiny, {"seed": seed}, "test")) for seed in (3, 5, 8)]
    calls: list[int] = []
    write = loop.sample_texts
    monkeypatch.setattr(loop, "sample_texts", lambda *asked: calls.append(len(asked[-1])) or write(*asked))
    for out, ahead in (("alone", False), ("together", True)):
        monkeypatch.setattr(Engine, "runs_ahead", ahead)
        assert train_seed_batch(together, place(tmp_path / out), never)
    assert calls == [1, 1, 1, 3]
    texts = [[run_at(tmp_path / out, run.fingerprint).samples.read_text() for run in together]
             for out in ("alone", "together")]  # fmt: skip
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == 3


def test_a_corrupt_newest_checkpoint_costs_one_interval_and_no_bit(tiny: RunConfig, tmp_path: Path) -> None:
    whole = trained(tiny, tmp_path / "whole")
    run = planned(tiny)
    assert not train_seed_batch([run], place(tmp_path / "hurt"), stop_after(25))
    hurt = run_at(tmp_path / "hurt", run.fingerprint)
    assert list(checkpoint.find(hurt.checkpoints)[0]) == [20, 25]
    state = hurt.checkpoints / "step-00000025" / "state.safetensors"
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 4
    state.write_bytes(data)
    assert train_seed_batch([run], place(tmp_path / "hurt"), never)
    assert last_weights(hurt) == last_weights(whole)
    assert hurt.metrics.read_bytes() == whole.metrics.read_bytes()


def test_seeds_trained_together_leave_the_records_of_seeds_trained_alone(tiny: RunConfig, tmp_path: Path) -> None:
    configs = [with_values(tiny, {"seed": seed, "optim.lr": 3e-3}, "test") for seed in (3, 5, 8)]
    together = [planned(config) for config in configs]
    assert train_seed_batch(together, place(tmp_path / "seed batch"), never)
    for config, run in zip(configs, together, strict=True):
        solo, packed = trained(config, tmp_path / "solo"), run_at(tmp_path / "seed batch", run.fingerprint)
        for a, b in zip(rows(solo), rows(packed), strict=True):
            assert a.keys() == b.keys()
            for key in a:
                np.testing.assert_allclose(a[key], b[key], rtol=1e-3, atol=1e-5, err_msg=f"{key} at {a['step']}")
        measured = [(solo.probe_file(step), packed.probe_file(step)) for step in solo.probe_steps()]
        for by_itself, in_company in [*measured, (solo.long_range, packed.long_range)]:
            alone, among = load_arrays(by_itself), load_arrays(in_company)
            assert alone.keys() == among.keys()
            for name in alone:
                np.testing.assert_allclose(alone[name], among[name], rtol=2e-3, atol=1e-3, err_msg=name)


def test_a_run_builds_its_model_and_reads_its_text_once(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []

    def counted(cls: type, what: str) -> None:
        original = cls.__init__

        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            built.append(what)
            original(self, *args, **kwargs)

        monkeypatch.setattr(cls, "__init__", init)

    workspace = place(tmp_path)
    runs = [planned(tiny), planned(with_values(tiny, {"model.position": "alibi", "data.order_seed": 3}, "test"))]
    counted(GPT, "model")
    counted(Dataset, "text")
    for run in runs:
        assert train_seed_batch([run], workspace, never)
    assert built == ["text", "model", "model"]
    written = [run_at(tmp_path, run.fingerprint) for run in runs]
    assert all(run.samples.exists() and run.long_range.exists() for run in written)


def test_a_text_that_changes_while_the_command_runs_is_refused(tiny: RunConfig, excerpt: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(excerpt.read_text())
    run = planned(with_values(tiny, {"data.source": str(text)}, "test"))
    text.write_text(excerpt.read_text() + "more")
    with pytest.raises(InputError, match=r"data.source: .*text.txt has changed since the command was started"):
        train_seed_batch([run], place(tmp_path / "out"), never)


class Poisoned(RunWriter):
    """A writer under which one seed's weights turn to NaN when the status of step 20 is written."""

    def progress(self, step: int) -> None:
        super().progress(step)
        if step == 20:
            with torch.no_grad():
                next(iter(self._engine.parameters.values()))[1].fill_(math.nan)


def test_a_nan_in_one_seed_ends_that_run_and_leaves_the_others_bit_identical(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = [planned(with_values(tiny, {"seed": seed}, "test")) for seed in (0, 1, 2)]
    assert train_seed_batch(together, place(tmp_path / "sound"), never)
    monkeypatch.setattr("gpt.runner.seed_batch.RunWriter", Poisoned)
    assert train_seed_batch(together, place(tmp_path / "sick"), never)
    for index, run in enumerate(together):
        sound, sick = run_at(tmp_path / "sound", run.fingerprint), run_at(tmp_path / "sick", run.fingerprint)
        if index == 1:
            assert sick.read_status().state == "diverged"
            assert sick.read_status().why == "train/loss not finite at step 21"
            assert rows(sick)[:21] == rows(sound)[:21]
            assert rows(sick)[21]["train/loss"] is None
            assert len(rows(sick)) == 22
            assert not sick.long_range.exists()
            assert json.loads(sick.events.read_text())["kind"] == "nonfinite"
        else:
            assert sick.read_status().state == "done"
            assert sick.metrics.read_bytes() == sound.metrics.read_bytes()
            assert last_weights(sick) == last_weights(sound)
            assert sick.long_range.read_bytes() == sound.long_range.read_bytes()


def test_the_best_model_on_disk_is_the_one_of_the_best_evaluation_of_the_validation_text(
    tiny: RunConfig, excerpt: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short.txt"
    short.write_text(excerpt.read_text()[:1500])
    changes = {"data.source": str(short), "train.steps": 200, "model.width": 64, "train.batch_size": 32}
    changes |= {"data.test_share": 0}
    overfitting = with_values(tiny, {**changes, "optim.lr": 1e-2, "train.eval_every": 10}, "test")
    run = trained(overfitting, tmp_path)
    losses = {row["step"]: row["val/loss"] for row in rows(run) if "val/loss" in row}
    best = min(losses, key=losses.__getitem__)
    assert 0 < best < max(losses), "the run must overfit for this to say anything"
    assert read_json(run.model / "config.json")["step"] == best

    model, tokenizer, context = load_model(run.model)
    val = tokenizer.encode(short.read_text())[int(1500 * 0.9) :]
    found = []
    for start in range(0, len(val) - context, context):
        window = torch.from_numpy(val[start : start + context + 1])
        logits, _ = model(window[None, None, :-1])
        found.append(torch.nn.functional.cross_entropy(logits[0, 0].double(), window[1:]).item())
    assert np.mean(found) == pytest.approx(losses[best], abs=1e-5)


def test_rows_and_events_are_on_disk_before_the_checkpoint_that_rests_on_them(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, commit = os.fsync, checkpoint.commit

    def noted_fsync(descriptor: int) -> None:
        order.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def noted_commit(root: Path, step: int, *rest: Any) -> Path:
        held = [json.loads(line)["step"] for line in (root.parent / "metrics.jsonl").read_text().splitlines()]
        assert held == list(range(step + 1))
        last_commit = max((i for i, name in enumerate(order) if name == "commit"), default=-1)
        assert {"metrics.jsonl", "events.jsonl"} <= set(order[last_commit + 1 :])
        order.append("commit")
        return commit(root, step, *rest)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(checkpoint, "commit", noted_commit)
    trained(tiny, tmp_path)
    assert order.count("commit") == 4


def test_a_seed_batch_with_a_diverged_seed_goes_on_from_its_last_checkpoint(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = [planned(with_values(tiny, {"seed": seed}, "test")) for seed in (0, 1)]
    monkeypatch.setattr("gpt.runner.seed_batch.RunWriter", Poisoned)
    assert not train_seed_batch(together, place(tmp_path), stop_after(35))
    steps = [resumable_steps(run_at(tmp_path, run.fingerprint)) for run in together]
    assert max(set.intersection(*steps)) == 35
    assert train_seed_batch(together, place(tmp_path), never)
    assert [run_at(tmp_path, run.fingerprint).read_status().state for run in together] == ["done", "diverged"]


def test_evaluation_before_training_is_near_a_uniform_guess(tiny: RunConfig, tmp_path: Path) -> None:
    run = trained(tiny, tmp_path)
    vocabulary = read_json(run.run_json)["data"]["vocabulary"]
    assert rows(run)[0]["val/loss"] == pytest.approx(math.log(vocabulary), abs=0.1)


def test_clipping_off_scales_nothing_and_a_tight_limit_scales_everything(tiny: RunConfig, tmp_path: Path) -> None:
    off = rows(trained(with_values(tiny, {"optim.clip": None}, "test"), tmp_path))
    tight = rows(trained(with_values(tiny, {"optim.clip": 1e-3}, "test"), tmp_path))
    assert {row["grad/clip_scale"] for row in off[1:]} == {1.0}
    for row in tight[1:]:
        assert row["grad/clip_scale"] * row["grad/norm"] == pytest.approx(1e-3, rel=1e-2)


def test_the_same_seed_sees_the_same_first_loss_with_and_without_clipping(tiny: RunConfig, tmp_path: Path) -> None:
    on, off = (rows(trained(with_values(tiny, {"optim.clip": c}, "test"), tmp_path)) for c in (1.0, None))
    assert on[0] == off[0]
    assert on[1]["train/loss"] == off[1]["train/loss"]
    assert on[1]["grad/layer_norm"] == off[1]["grad/layer_norm"]


def test_a_run_begun_by_other_code_is_not_continued(tiny: RunConfig, tmp_path: Path) -> None:
    run = planned(tiny)
    assert not train_seed_batch([run], place(tmp_path), stop_after(15))
    path = run_at(tmp_path, run.fingerprint).run_json
    made = read_json(path)
    write_json(path, {**made, "code": {**made["code"], "shared": "0"}})
    with pytest.raises(InputError, match="made with code of shared = '0', now it is '"):
        train_seed_batch([run], place(tmp_path), never)
