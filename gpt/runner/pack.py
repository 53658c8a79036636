"""Training the cells of one pack: from planned to done, resumed from whatever an earlier attempt left."""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt.config import RunConfig
from gpt.data.dataset import Dataset
from gpt.errors import InputError
from gpt.model.count import parameter_count, training_flops_per_token
from gpt.model.gpt import layer_names
from gpt.probes.activations import ACTIVATIONS
from gpt.probes.attention import attention_probe
from gpt.probes.protocol import Probe
from gpt.records.cell import Cell, State, Status, save_arrays
from gpt.records.files import read_json, write_atomic, write_json
from gpt.records.jsonl import read_jsonl
from gpt.records.manifest import write_manifest
from gpt.records.schema import GRAD_NORM, TRAIN_LOSS, VAL_LOSS
from gpt.runner.inputs import load_data
from gpt.runner.stack import describe_hardware, describe_stack
from gpt.study.folder import cell_at
from gpt.study.plan import PlannedCell
from gpt.train import checkpoint
from gpt.train.loop import train
from gpt.train.ranks import ALONE, Ranks
from gpt.train.recorder import Recorder
from gpt.train.replica import ReplicaEngine
from gpt.train.sampling import sample_text
from gpt.train.weights import load_model, save_model, weights_sha256
from gpt.train.zero import ZeroEngine


@dataclass(frozen=True)
class Place:
    """Where a process works."""

    out: Path
    """folder of cells and studies"""
    cache: Path
    """folder of fetched texts"""
    device: torch.device
    zero_stage: int | None = None
    """DeepSpeed's stage where the launch asks for DeepSpeed"""


class Pack:
    """Cells that are trained together; what the training loop hands out goes into their folders.

    All ranks that share the work hold the same pack; the leading one alone reads and writes.
    """

    def __init__(self, planned: Sequence[PlannedCell], data: Dataset, place: Place, ranks: Ranks = ALONE):
        self.planned = planned
        self.config = planned[0].config
        self.data = data
        self.ranks = ranks
        self.cells = [cell_at(place.out, p.fingerprint) for p in planned]
        self._before = [cell.read_status() for cell in self.cells] if ranks.leads else []
        self._began = time.monotonic()
        seeds = [p.seed for p in planned]
        self.engine = build_engine(self.config, data.tokenizer.vocabulary_size, seeds, place, ranks)
        self.start = self._resume()
        steps = self.config.train.steps
        self.recorder = Recorder(self.cells, data.unigram_loss, steps, self.start, ranks)

    def _resume(self) -> int:
        """Load the newest step that every cell can resume; -1 if there is none."""
        loaded: list[dict[str, Tensor]] = []
        step = -1
        if self.ranks.leads:
            step = max(set.intersection(*map(resumable_steps, self.cells)), default=-1)
            loaded = [checkpoint.load(cell.checkpoints, step).tensors for cell in self.cells if step >= 0]
        step = self.ranks.from_leader(step)
        if step >= 0:
            packed = {name: torch.cat([state[name] for state in loaded]) for name in loaded[0]} if loaded else {}
            self.engine.load(step, self.ranks.tensors_from_leader(packed))
        return step

    @property
    def layout(self) -> dict[str, Any]:
        """How this attempt is computed, for the reader: another layout gives other roundings."""
        return {
            "from_step": max(self.start, 0),
            "engine": self.engine.name,
            "ranks": self.ranks.size,
            "micro_batches": len(self.engine.micro_batches) * self.ranks.size,
            "seeds_together": len(self.cells),
        }

    def probes(self) -> list[Probe]:
        """What is measured on the probe windows; nothing where probes are off."""
        if self.config.probes.every == 0:
            return []
        return [ACTIVATIONS, attention_probe(self.config.probes.heatmap_characters)]

    def best(self, step: int, indices: Sequence[int]) -> None:
        weights = self.engine.weights()
        for index in indices if self.ranks.leads else ():
            of_seed = {name: value[index : index + 1] for name, value in weights.items()}
            about = {"cell": self.planned[index].fingerprint, "seed": self.planned[index].seed, "step": step}
            save_model(self.cells[index].model, self.config.model, self.data.tokenizer.characters, of_seed, about)

    def arrays(self, step: int, arrays: dict[str, Tensor]) -> None:
        for index, recorder in enumerate(self.recorder.cells):
            if not recorder.ended:
                kept = {name: value[index].cpu().numpy() for name, value in arrays.items()}
                save_arrays(recorder.cell.probe_file(step), kept, {"step": str(step)})

    def checkpoint(self, step: int) -> None:
        state = self.engine.state()
        if self.ranks.leads:
            for index, (cell, planned) in enumerate(zip(self.cells, self.planned, strict=True)):
                of_seed = {name: value[index : index + 1].clone() for name, value in state.items()}
                checkpoint.commit(cell.checkpoints, step, of_seed, {"cell": planned.fingerprint})

    def progress(self, step: int) -> None:
        for index in range(len(self._before)):
            self.write_status(index, "running", step)

    def write_status(self, index: int, state: State, step: int, why: str = "") -> None:
        before = self._before[index]
        seconds = before.seconds + time.monotonic() - self._began
        status = Status(state, max(step, 0), self.config.train.steps, why, before.attempts + 1, seconds)
        self.cells[index].write_status(status)

    def train(self, stop: Callable[[], bool]) -> bool:
        """Train to the end; False if `stop`, asked on every rank, ended it before."""
        self.progress(self.start)

        def stopping() -> bool:
            return self.ranks.any(stop() or self.recorder.all_ended)

        with closing(self.recorder), closing(self.engine):
            last = train(self.config, self.data, self.engine, self.probes(), self.recorder, self, self.start, stopping)
            finished = last == self.config.train.steps or self.ranks.any(self.recorder.all_ended)
            weights = self.engine.weights() if finished else {}
            for index in range(len(self._before)):
                if finished:
                    self._finish(index, last, weights)
                else:
                    self.write_status(index, "preempted", last, "stopped on request")
        return finished

    def _finish(self, index: int, step: int, weights: dict[str, Tensor]) -> None:
        """Write a sample, the hash of the last weights, the manifest, the final status; checkpoints have served."""
        cell = self.cells[index]
        _write_samples(cell, self.planned[index])
        last = {name: value[index] for name, value in weights.items()}
        write_json(cell.run_json, {**read_json(cell.run_json), "final_weights_sha256": weights_sha256(last)})
        write_manifest(cell.root, cell.results())
        why = self.recorder.cells[index].stability.why
        self.write_status(index, "diverged" if why else "done", step, why)
        shutil.rmtree(cell.checkpoints, ignore_errors=True)


def build_engine(
    config: RunConfig, vocabulary: int, seeds: Sequence[int], place: Place, ranks: Ranks
) -> ReplicaEngine | ZeroEngine:
    """The engine that the launch asks for."""
    if place.zero_stage is None:
        return ReplicaEngine(config, vocabulary, seeds, place.device, ranks)
    return ZeroEngine(config, vocabulary, seeds, place.device, ranks)


def train_pack(planned: Sequence[PlannedCell], place: Place, stop: Callable[[], bool], ranks: Ranks = ALONE) -> bool:
    """Train cells together, which differ in their seeds alone, going on from their common newest checkpoint.

    The caller holds their leases. Every rank of the row calls this.

    Returns:
        False if `stop` ended it early; the next call then goes on from here.

    Raises:
        InputError: a cell was begun by other code, packages or on another device.
    """
    data = load_data(planned[0].config, place.cache)
    if ranks.leads:
        for cell in planned:
            describe_run(cell, data, place)
    pack = Pack(planned, data, place, ranks)
    if ranks.leads:
        for folder in pack.cells:
            _note_layout(folder, pack.layout)
    return pack.train(stop)


def describe_run(planned: PlannedCell, data: Dataset, place: Place) -> None:
    """Write run.json, or hold it against what is here now.

    Raises:
        InputError: see `check_stack`.
    """
    cell = cell_at(place.out, planned.fingerprint)
    if cell.run_json.exists():
        check_stack(cell, describe_stack(place.device))
        return
    config, vocabulary = planned.config, data.tokenizer.vocabulary_size
    run = {
        "fingerprint": planned.fingerprint,
        "seed": planned.seed,
        "config": config.model_dump(mode="json"),
        "data": {
            "sha256": data.sha256,
            "vocabulary": vocabulary,
            "train_characters": len(data.train),
            "val_characters": len(data.val),
            "unigram_loss": data.unigram_loss,
        },
        "layers": layer_names(config.model),
        "parameters": parameter_count(config.model, vocabulary),
        "training_flops_per_token": training_flops_per_token(config.model, vocabulary),
        "probe_text": data.tokenizer.decode(data.val[: min(config.probes.heatmap_characters, config.model.context)]),
        "stack": describe_stack(place.device),
        "hardware": describe_hardware(place.device),
    }
    write_json(cell.run_json, run)


def check_stack(cell: Cell, stack: dict[str, Any]) -> None:
    """Refuse to go on with, or to compare, what other code or another machine made.

    Raises:
        InputError: names what differs.
    """
    run = read_json(cell.run_json)
    made_by = run.get("stack") if isinstance(run, dict) else None
    if not isinstance(made_by, dict):
        raise InputError(f"{cell.run_json}: damaged, must say which stack made the cell; remove the cell's folder")
    for key, now in stack.items():
        if made_by.get(key) != now:
            raise InputError(
                f"{cell.run_json}: made with {key} = {made_by.get(key)!r}, now it is {now!r}; "
                "results of the two are not merged: use another --out, or remove the cell"
            )


def _note_layout(cell: Cell, layout: dict[str, Any]) -> None:
    """Add the attempt's layout to run.json where it is another than before."""
    run = read_json(cell.run_json)
    before = run.get("layouts", [])
    if not before or before[-1] | {"from_step": layout["from_step"]} != layout:
        write_json(cell.run_json, {**run, "layouts": [*before, layout]})


def _write_samples(cell: Cell, planned: PlannedCell) -> None:
    sample = planned.config.sample
    if sample.characters:
        model, tokenizer, context = load_model(cell.model)
        text = sample_text(
            model, tokenizer, context, sample.prompt, sample.characters, sample.temperature, planned.seed
        )
        write_atomic(cell.samples, text.encode())


def resumable_steps(cell: Cell) -> set[int]:
    """The steps whose checkpoint verifies and up to which no row is missing; says which checkpoints do not verify."""
    verified, damaged = checkpoint.find(cell.checkpoints)
    for why in damaged.values():
        print(f"checkpoint not used: {why}", file=sys.stderr)
    return {step for step in verified if has_rows_through(cell, step)}


def has_rows_through(cell: Cell, step: int) -> bool:
    """Whether no row up to a step is missing; a run that left the finite numbers has none after that."""
    rows = read_jsonl(cell.metrics) if cell.metrics.exists() else []
    ended = bool(rows) and any(rows[-1].get(key, 0.0) is None for key in (TRAIN_LOSS, GRAD_NORM, VAL_LOSS))
    last = min(step, rows[-1]["step"]) if ended else step
    return [row["step"] for row in rows][: last + 1] == list(range(last + 1))
