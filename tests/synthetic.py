"""A study's output folder written by hand, through the records room: no training, and every number known."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gpt.analysis.trials import plan_from_records
from gpt.config import RunConfig
from gpt.probes.declared import declared_arrays
from gpt.records.files import write_atomic, write_json
from gpt.records.jsonl import JsonlWriter
from gpt.records.run_folder import Status, save_arrays
from gpt.records.schema import WINDOW_IS_TEST, WINDOW_LOSS_BEST, WINDOW_LOSS_LAST
from gpt.study.folder import StudyFolder, run_at
from gpt.study.plan import PlannedRun, label
from gpt.study.spec import Study
from gpt.yaml_file import parse

STEPS, EVAL_EVERY = 40, 10
LAYERS = ["embedding", "layer 0", "layer 1", "head"]
DATA = hashlib.sha256(b"text").hexdigest()
STACK = {"torch": "2.13.0", "device": "cpu", "threads": 1}
CODE = {"shared": "0123456789ab", "engine=SingleProcessEngine": "ba9876543210"}
SOURCE = {"gpt": "0.1.0", "commit": "0123456789abcdef", "dirty": False}
BASE: dict[str, Any] = {
    "data": {"source": "/somewhere/private/plays.txt", "val_fraction": 0.1, "test_share": 0},
    "model": {"layers": 2, "heads": 2, "width": 8, "context": 8, "position": "rope", "norm_placement": "pre"},
    "optim": {"lr": 1e-3, "warmup_steps": 5},
    "train": {"steps": STEPS, "batch_size": 4, "eval_every": EVAL_EVERY},
    "probes": {"every": 20, "windows": 2, "heatmap_characters": 8},
}


@dataclass
class Outcome:
    """How one run ends."""

    last_loss: float = 2.0
    """validation loss of the last evaluation, the lowest of the run; nats per character"""
    state: str = "done"
    why: str = ""
    norm: float = 0.5
    """gradient norm of every step from the fifth on; before, it is at most 0.4"""
    scale: float = 1.0
    """factor of every step from the fifth on; before, it is 1"""
    first_loss: float = 4.0
    """training loss of step 1"""
    start: float | None = None
    """validation loss before training; None: 2 above the last"""
    rms: Sequence[float] = (0.02, 0.03, 0.04)
    spikes: int = 0
    nan_at: int | None = None
    """step whose training loss is not finite; nothing follows it"""
    probes: bool = True
    collapses: int = 0
    logit: float = 4.0
    """largest attention logit at the end; half of it before training"""
    long_range: bool = True
    test_windows: Sequence[float] = ()
    """losses of the test windows, at the best step and at the last; after one validation window"""
    parts: Callable[[int], Sequence[float | None]] | None = None
    """by step, the norms of the batch's parts as multiples of the gradient norm, None for what was not finite"""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """top-level entries of run.json that are not what they should be"""


Outcomes = Callable[[PlannedRun], Outcome]


def study(
    factor: str = "optim.clip", variants: Sequence[Any] = (1.0, None), seeds: int | list[int] = 3, **more: Any
) -> Study:
    fields = {
        "name": "by-hand",
        "question": "Does it | help_?",
        "base": parse(RunConfig, BASE, "base").model_dump(mode="json"),
        "factor": factor,
        "variants": list(variants),
        "settings": {},
        "seeds": list(range(seeds)) if isinstance(seeds, int) else seeds,
        "metric": "val/loss.min",
        "smallest_effect": 0.01,
    }
    return parse(Study, {**fields, **more}, "study")


def write_study(out: Path, planned: Study, outcome: Outcomes, backwards: bool = False) -> StudyFolder:
    """Start a study and write its runs, one after the other, in this order or the other; of a study that tunes, stage
    after stage.
    """
    folder, written = StudyFolder(out, planned.name), set[str]()
    while True:
        runs = plan_from_records(planned, DATA, out, {}).all_runs
        new = [run for run in runs if run.fingerprint not in written]
        folder.start(planned, DATA, runs)
        for run in reversed(new) if backwards else new:
            write_run(out, run, outcome(run))
        written |= {run.fingerprint for run in new}
        if planned.tune:
            folder.advance(lambda runs=runs: runs)
        if not planned.tune or not new:
            return folder


def write_run(out: Path, planned: PlannedRun, outcome: Outcome) -> None:
    """Everything that a finished or broken-off run leaves in its folder."""
    if outcome.state == "planned":
        return
    run = run_at(out, planned.fingerprint)
    info = {
        "fingerprint": planned.fingerprint,
        "seed": planned.seed,
        "config": planned.config.model_dump(mode="json"),
        "data": {"sha256": DATA, "vocabulary": 9, "train_characters": 900, "val_characters": 100, "unigram_loss": 3.3},
        "layers": _layers(planned, Outcome()),
        "normalises_stream": planned.config.model.norm_placement == "post",
        "parameters": 1234,
        "training_flops_per_token": 5678,
        "probe_text": "a\n $b水_ ",
        "code": CODE,
        "stack": STACK,
        "source": SOURCE,
        "layouts": [{"from_step": 0, "engine": "single process", "ranks": 1, "micro_batches": 1, "seeds_together": 1}],
        "hardware": {"cpu": "Abacus", "cores": 2, "gpu": None, "system": "Wood"},
        "final_weights_sha256": hashlib.sha256(planned.fingerprint.encode()).hexdigest(),
        "smallest_spike": 0.3,
    }
    info["arrays"] = declared_arrays(planned.config)
    write_json(run.run_json, {**info, **outcome.changes})
    last = outcome.nan_at or (STEPS // 2 if outcome.state in ("running", "failed") else STEPS)
    with JsonlWriter(run.metrics) as rows:
        rows.append(_row(step, planned, outcome) for step in range(last + 1))
    with JsonlWriter(run.events) as events:
        events.append({"step": 7 + i, "kind": "spike", "loss": 9.0, "median": 3.0} for i in range(outcome.spikes))
        if outcome.nan_at:
            events.append([{"step": outcome.nan_at, "kind": "nonfinite", "key": "train/loss"}])
        collapse = {"step": max(20, outcome.nan_at or 0), "kind": "entropy_collapse", "entropy": 0.01, "at_most": 0.07}
        events.append({**collapse, "layer": i} for i in range(outcome.collapses))
    for step in range(0, last + 1, 20) if outcome.probes else ():
        save_arrays(run.probe_file(step), _arrays(step, planned, outcome), {"step": str(step)})
    if outcome.state == "done" and outcome.long_range:
        save_arrays(run.long_range, long_range_arrays(planned), {})
    if outcome.test_windows:
        losses = np.array([outcome.last_loss, *outcome.test_windows], dtype=np.float32)
        is_test = np.arange(len(losses)) > 0
        arrays = {WINDOW_LOSS_BEST: losses, WINDOW_LOSS_LAST: losses, WINDOW_IS_TEST: is_test}
        save_arrays(run.window_losses, arrays, {"step": str(last)})
    if outcome.state == "done":
        write_atomic(run.samples, f"{label(planned.variant)} wrote ``` this\n".encode())
    write_json(run.status_json, Status(outcome.state, last, STEPS, outcome.why, 1, 12.5))


def _layers(planned: PlannedRun, outcome: Outcome) -> list[str]:
    blocks = [f"layer {i}" for i in range(planned.config.model.layers)]
    return list(outcome.changes.get("layers", ["embedding", *blocks, "head"]))


def _row(step: int, planned: PlannedRun, outcome: Outcome) -> dict[str, Any]:
    row: dict[str, Any] = {"step": step}
    if step > 0:
        loss = float("nan") if step == outcome.nan_at else outcome.first_loss - 0.01 * (step - 1)
        norm, scale = (outcome.norm, outcome.scale) if step >= 5 else (min(outcome.norm, 0.4), 1.0)
        row |= {"lr": 1e-3, "train/loss": loss, "grad/norm": norm, "grad/clip_scale": scale}
        norms = [norm / 2 ** (i + 1) for i in range(planned.config.model.layers + 1)]
        row |= {"grad/layer_norm": [*norms, 0.0][: len(_layers(planned, outcome))]}
        if outcome.parts:
            row["grad/micro_batch_norm"] = [None if part is None else part * norm for part in outcome.parts(step)]
    if step % EVAL_EVERY == 0:
        row["val/loss"] = outcome.last_loss + (STEPS - step) / 20
        if outcome.test_windows:
            row["test/loss"] = row["val/loss"] - outcome.last_loss + float(np.mean(outcome.test_windows))
    if step == 0 and outcome.start is not None:
        row["val/loss"] = outcome.start
    return row


def _arrays(step: int, planned: PlannedRun, outcome: Outcome) -> dict[str, Any]:
    layers, heads_of_layer = planned.config.model.layers, planned.config.model.heads
    weights = np.tri(planned.config.probes.heatmap_characters, dtype=np.float16)
    weights /= weights.sum(axis=1, keepdims=True)
    grown = 1 + step / STEPS
    rms = np.array(outcome.rms, dtype=np.float32) * grown
    heads = np.array([[0.0, 1.0], [2.0, 3.0]], dtype=np.float32)
    heads = heads if planned.seed % 2 else heads[:, ::-1]  # which head does what is a matter of the seed
    arrays: dict[str, Any] = {
        "residual_rms": rms,
        "residual_max": 5 * rms,
        "residual_kurtosis": np.array([-0.1, 0.5, 1.5], dtype=np.float32) * grown,
        "dead_share": np.array([0.0, 0.1], dtype=np.float32) * step / STEPS,
        "attention_entropy": np.array([[1.0, 1.2], [1.4, 1.6]], dtype=np.float32) - step / 100,
        "attention_distance": 1 + heads / 4,
        "attention_previous": 0.2 + heads * step / STEPS / 10,
        "attention_first": 0.3 - heads * step / STEPS / 20,
        "attention_induction": 0.1 + heads * step / STEPS / 5,
        "attention_logit_max": np.full((2, 2), outcome.logit / 2 * grown, dtype=np.float32) - heads / 10,
        "attention_heatmap": np.broadcast_to(weights, (layers, heads_of_layer, *weights.shape)),
    }
    for name, array in arrays.items():
        if name.startswith("residual"):
            arrays[name] = np.resize(array, layers + 1)
        elif array.ndim == 2:  # by layer and head
            rows = [np.resize(row, heads_of_layer) for row in array]
            arrays[name] = np.stack([rows[i % 2] for i in range(layers)])
        elif array.ndim == 1:
            arrays[name] = np.resize(array, layers)
    if step > 0:
        names = _layers(planned, outcome)
        ratios = np.array([1e-2, *([2e-3, 3e-3] * layers)[:layers], np.nan], dtype=np.float32)[: len(names)]
        arrays["update_ratio"] = ratios / (1 + planned.seed)
    return arrays


def long_range_arrays(planned: PlannedRun) -> dict[str, Any]:
    """Loss falls by 0.1 from position to position of the context and rises by 0.2 beyond; with a context of 8.

    Half of the gradient lies within the last three characters, or the last two where the seed is odd.
    """
    context = planned.config.model.context
    inside = 3.0 - 0.1 * np.arange(context) + 0.01 * planned.seed
    beyond = inside[-1] + 0.2 * np.arange(1, context + 1)
    learned = planned.config.model.position == "learned"
    lengths = 2 ** np.arange(context.bit_length())
    decay = np.full(context, 0.25)
    decay[:3] = (1, 2, 0.25) if planned.seed % 2 else (1, 0.5, 0.75)
    return {
        "loss_by_position": (inside if learned else np.concatenate([inside, beyond])).astype(np.float32),
        "context_lengths": lengths.astype(np.int64),
        "context_loss": (2.0 + 1 / lengths).astype(np.float32),
        "dependency": decay.astype(np.float32),
    }
