"""Training the runs of one seed batch: from planned to done, resumed from whatever an earlier attempt left."""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import torch
from torch import Tensor

from gpt.config import RunConfig
from gpt.data.dataset import Dataset
from gpt.probes.activations import ACTIVATIONS, HIDDEN_UNITS
from gpt.probes.attention import INDUCTION, attention_probe
from gpt.probes.protocol import Probe
from gpt.records.files import read_json, write_atomic, write_json
from gpt.records.manifest import write_manifest
from gpt.records.run_folder import RunFolder, State, Status, save_arrays
from gpt.runner.inputs import load_data
from gpt.runner.resume import resumable_steps
from gpt.runner.run_json import describe_run, note_layout
from gpt.runner.workspace import Workspace
from gpt.study.folder import run_at
from gpt.study.plan import PlannedRun
from gpt.train import checkpoint
from gpt.train.context_use import measure_long_range
from gpt.train.engines.ddp import DDPEngine
from gpt.train.engines.ranks import SINGLE, Ranks
from gpt.train.engines.zero import ZeROEngine
from gpt.train.loop import train
from gpt.train.recorder import Recorder
from gpt.train.sampling import sample_text
from gpt.train.saved_model import load_model, save_model, weights_sha256


class SeedBatch:
    """Runs that are trained together; what the training loop hands out goes into their folders.

    All ranks that share the work hold the same seed batch; the leading one alone reads and writes.
    """

    def __init__(self, planned: Sequence[PlannedRun], data: Dataset, workspace: Workspace, ranks: Ranks = SINGLE):
        self.planned = planned
        self.config = planned[0].config
        self.data = data
        self.ranks = ranks
        self.runs = [run_at(workspace.out, p.fingerprint) for p in planned]
        self._before = [run.read_status() for run in self.runs] if ranks.is_main else []
        self._began = time.monotonic()
        seeds = [p.seed for p in planned]
        self.engine = build_engine(self.config, data.tokenizer.vocabulary_size, seeds, workspace, ranks)
        self.start, offsets = self._resume()
        self.recorder = Recorder(self.runs, self.config, data.unigram_loss, self.start, offsets, ranks)

    def _resume(self) -> tuple[int, list[dict[str, Any]]]:
        """Load the newest step that every run can resume, -1 if there is none; return it and the records' offsets."""
        loaded: list[checkpoint.Checkpoint] = []
        step = -1
        if self.ranks.is_main:
            step = max(set.intersection(*map(resumable_steps, self.runs)), default=-1)
            loaded = [checkpoint.load(run.checkpoints, step) for run in self.runs if step >= 0]
        step = self.ranks.broadcast_object(step)
        if step >= 0:
            states = [one.tensors for one in loaded]
            packed = {name: torch.cat([state[name] for state in states]) for name in states[0]} if states else {}
            self.engine.load(step, self.ranks.broadcast_tensors(packed))
        return step, [one.meta["records"] for one in loaded]

    @property
    def layout(self) -> dict[str, Any]:
        """How this attempt is computed, for the reader: another layout gives other roundings."""
        return {
            "from_step": max(self.start, 0),
            "engine": self.engine.name,
            "ranks": self.ranks.size,
            "micro_batches": len(self.engine.micro_batches) * self.ranks.size,
            "seeds_together": len(self.runs),
        }

    def best(self, step: int, indices: Sequence[int]) -> None:
        weights = self.engine.weights()
        for index in indices if self.ranks.is_main else ():
            of_seed = {name: value[index : index + 1] for name, value in weights.items()}
            about = {"run": self.planned[index].fingerprint, "seed": self.planned[index].seed, "step": step}
            save_model(self.runs[index].model, self.config.model, self.data.tokenizer.characters, of_seed, about)

    def arrays(self, step: int, arrays: dict[str, Tensor]) -> None:
        for index, recorder in enumerate(self.recorder.runs):
            if not recorder.ended:
                kept = {name: value[index].cpu().numpy() for name, value in arrays.items()}
                save_arrays(recorder.folder.probe_file(step), kept, {"step": str(step)})

    def checkpoint(self, step: int) -> None:
        state = self.engine.state()
        if self.ranks.is_main:
            for index, recorder in enumerate(self.recorder.runs):
                of_seed = {name: value[index : index + 1].clone() for name, value in state.items()}
                meta = {"run": self.planned[index].fingerprint, "records": recorder.offsets()}
                checkpoint.commit(recorder.folder.checkpoints, step, of_seed, meta)

    def progress(self, step: int) -> None:
        for index in range(len(self._before)):
            self.write_status(index, "running", step)

    def write_status(self, index: int, state: State, step: int, why: str = "") -> None:
        before = self._before[index]
        seconds = before.seconds + time.monotonic() - self._began
        status = Status(state, max(step, 0), self.config.train.steps, why, before.attempts + 1, seconds)
        self.runs[index].write_status(status)

    def train(self, stop: Callable[[], bool]) -> bool:
        """Train to the end; False if `stop`, asked on every rank, ended it before."""
        self.progress(self.start)

        def stopping() -> bool:
            return self.ranks.any(stop() or self.recorder.all_ended)

        with closing(self.recorder), closing(self.engine):
            probes = probes_of(self.config)
            last = train(self.config, self.data, self.engine, probes, self.recorder, self, self.start, stopping)
            finished = last == self.config.train.steps or self.ranks.any(self.recorder.all_ended)
            weights = self.engine.weights() if finished else {}
            for index in range(len(self._before)):
                if finished:
                    self._finish(index, last, weights)
                else:
                    self.write_status(index, "preempted", last, "stopped on request")
        return finished

    def _finish(self, index: int, step: int, weights: dict[str, Tensor]) -> None:
        """Write what is made once, of a trained model, then manifest and final status; checkpoints have served."""
        run = self.runs[index]
        _write_samples(run, self.planned[index], self.engine.device)
        last = {name: value[index] for name, value in weights.items()}
        if not self.recorder.runs[index].ended:
            _write_long_range(run, self.config, self.data, last)
        write_json(run.run_json, {**read_json(run.run_json), "final_weights_sha256": weights_sha256(last)})
        write_manifest(run.root, run.results())
        why = self.recorder.runs[index].stability.why
        self.write_status(index, "diverged" if why else "done", step, why)
        shutil.rmtree(run.checkpoints, ignore_errors=True)


def probes_of(config: RunConfig) -> list[Probe]:
    """What is measured on the probe windows; nothing where probes are off."""
    if config.probes.every == 0:
        return []
    return [ACTIVATIONS, HIDDEN_UNITS, attention_probe(config.probes.heatmap_characters), INDUCTION]


def build_engine(
    config: RunConfig, vocabulary: int, seeds: Sequence[int], workspace: Workspace, ranks: Ranks
) -> DDPEngine | ZeROEngine:
    """The engine that the launch asks for."""
    if workspace.zero_stage is None:
        return DDPEngine(config, vocabulary, seeds, workspace.device, ranks)
    return ZeROEngine(config, vocabulary, seeds, workspace.device, ranks)


def train_seed_batch(
    planned: Sequence[PlannedRun], workspace: Workspace, stop: Callable[[], bool], ranks: Ranks = SINGLE
) -> bool:
    """Train runs together, which differ in their seeds alone, going on from their common newest checkpoint.

    The caller holds their leases. Every rank of the row calls this.

    Returns:
        False if `stop` ended it early; the next call then goes on from here.

    Raises:
        InputError: a run was begun by other code, packages or on another device.
    """
    data = load_data(planned[0].config, workspace.cache)
    if ranks.is_main:
        for run in planned:
            describe_run(run, data, workspace)
    seed_batch = SeedBatch(planned, data, workspace, ranks)
    if ranks.is_main:
        for folder in seed_batch.runs:
            note_layout(folder, seed_batch.layout, type(seed_batch.engine))
    return seed_batch.train(stop)


def _write_samples(run: RunFolder, planned: PlannedRun, device: torch.device) -> None:
    sample = planned.config.sample
    if sample.characters:
        model, tokenizer, context = load_model(run.model)
        model.to(device)
        text = sample_text(
            model, tokenizer, context, sample.prompt, sample.characters, sample.temperature, planned.seed
        )
        write_atomic(run.samples, text.encode())


def _write_long_range(run: RunFolder, config: RunConfig, data: Dataset, weights: dict[str, Tensor]) -> None:
    if config.probes.long_range_windows:
        arrays = {name: value.cpu().numpy() for name, value in measure_long_range(config, data, weights).items()}
        save_arrays(run.long_range, arrays, {"step": str(config.train.steps)})
