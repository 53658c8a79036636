"""Everything that the training loop makes, on its way into the folders of the runs that are trained together.

Shapes: S seed, L layer.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from gpt.config import RunConfig
from gpt.data.dataset import Dataset
from gpt.records.files import read_json, write_atomic, write_json
from gpt.records.manifest import write_manifest
from gpt.records.run_folder import RunFolder, State, Status, save_arrays
from gpt.records.schema import ATTENTION_ENTROPY
from gpt.train import checkpoint
from gpt.train.engines.engine import Engine, StepOut
from gpt.train.held_out import Evaluation
from gpt.train.recorder import RunRecorder
from gpt.train.saved_model import load_weights, save_model, weights_sha256
from gpt.train.step_metrics import Step, StepMetrics

FLUSH_EVERY = 50
"""steps whose numbers stay on the device before they are written, so that a GPU is asked for them rarely"""


class RunWriter:
    """Where the loop puts what it makes, as tensors that lead with the seed axis.

    All ranks that share the work call it alike; the main one alone has folders to write to.
    """

    def __init__(
        self,
        folders: Sequence[RunFolder],
        config: RunConfig,
        data: Dataset,
        engine: Engine,
        start: int = -1,
        offsets: Sequence[Mapping[str, Any]] = (),
    ):
        """Resume after the step `start` of every run, whose records are kept up to their `offsets`.

        Args:
            folders: one for each of the engine's seeds; none on the other ranks.
        """
        self._config, self._engine = config, engine
        self._plugins = {"plugins": {file: plugin.sha256 for file, plugin in config.used_plugins().items()}}
        self._tokenizer = {"kind": config.data.tokenizer, "state": data.tokenizer.state()}
        self._before = [folder.read_status() for folder in folders]
        self._began = time.monotonic()
        self._runs = [
            RunRecorder(folder, config, start, kept)
            for folder, kept in zip(folders, offsets or [{}] * len(folders), strict=True)
        ]
        self._waiting: list[Step] = []
        self._in_flight: StepMetrics | None = None
        """steps before those, of a device that computes while the host goes on"""
        if any(run.left_fast_path for run in self._runs):
            engine.leave_fast_path()

    @property
    def all_ended(self) -> bool:
        """Whether every run has become non-finite; only the main rank can know."""
        return bool(self._runs) and all(run.ended for run in self._runs)

    @property
    def finite(self) -> list[bool]:
        """Whether each run that this rank writes has stayed finite."""
        return [not run.ended for run in self._runs]

    def step(self, step: int, lr: float, out: StepOut) -> None:
        """Take one training step's numbers."""
        if self._runs:
            if len(self._waiting) >= FLUSH_EVERY:  # this step itself waits, for its evaluation may follow
                self._hand_over()
            self._waiting.append((step, lr, out))

    def evaluation(self, step: int, evaluation: Evaluation) -> None:
        """Write all waiting rows, the last one with its evaluation, and the weights of the seeds it is the best of.

        Where there is test text, each window's loss is kept too, at that best evaluation and at the last one.
        """
        improved = self._engine.ranks.broadcast_object(self._flush(step, evaluation))
        weights = self._engine.weights() if any(improved) else {}
        for index, run in enumerate(self._runs):
            if improved[index]:
                about = {"run": run.folder.root.name, "seed": self._engine.seeds[index], "step": step, **self._plugins}
                best = _of_seed(weights, index)
                save_model(run.folder.model, self._config.model, self._tokenizer, best, about)
            if evaluation.has_test:
                is_last = step == self._config.train.steps
                run.keep_windows(step, evaluation.loss_SN[index], evaluation.validation, improved[index], is_last)

    def probed(self, step: int, arrays: Mapping[str, Tensor]) -> None:
        """Write what the probes measured, after all rows up to this step and what the arrays amount to."""
        self._flush()
        for index, run in enumerate(self._runs):
            if run.ended:
                continue
            if ATTENTION_ENTROPY in arrays:
                run.on_attention_entropy(step, arrays[ATTENTION_ENTROPY].mean(2)[index].tolist())
            kept = {name: value[index].cpu().numpy() for name, value in arrays.items()}
            save_arrays(run.folder.probe_file(step), kept, {"step": str(step)})

    def checkpoint(self, step: int) -> None:
        """Make the state after this step durable, and before it the rows that it rests on."""
        self._flush()
        for run in self._runs:
            run.sync()
        state = self._engine.state()
        for index, run in enumerate(self._runs):
            meta = {"run": run.folder.root.name, "records": run.offsets()}
            of_seed = {name: value.clone() for name, value in _of_seed(state, index).items()}
            checkpoint.commit(run.folder.checkpoints, step, of_seed, meta)

    def progress(self, step: int) -> None:
        """Say how far training is."""
        for index in range(len(self._runs)):
            self._write_status(index, "running", step)

    def stopped(self, step: int) -> None:
        """Say that training stopped on request; the next attempt resumes it."""
        for index in range(len(self._runs)):
            self._write_status(index, "preempted", step, "stopped on request")

    def best_weights(self, index: int) -> dict[str, Tensor]:
        """One seed's weights at its best evaluation, as they were written."""
        return load_weights(self._runs[index].folder.model)

    def sample(self, index: int, text: str) -> None:
        """Text that the trained model of one seed wrote."""
        write_atomic(self._runs[index].folder.samples, text.encode())

    def context_use(self, index: int, arrays: Mapping[str, Tensor]) -> None:
        """How one seed's trained model uses its context."""
        kept = {name: value.cpu().numpy() for name, value in arrays.items()}
        save_arrays(self._runs[index].folder.long_range, kept, {"step": str(self._config.train.steps)})

    def finished(self, index: int, step: int, weights: Mapping[str, Tensor]) -> None:
        """What is known at the end of one seed, then manifest and final status; checkpoints have served."""
        run = self._runs[index]
        about = read_json(run.folder.run_json)
        known = {"final_weights_sha256": weights_sha256(weights), "smallest_spike": run.detector.smallest_spike}
        write_json(run.folder.run_json, {**about, **known})
        write_manifest(run.folder.root, run.folder.results())
        self._write_status(index, "diverged" if run.detector.why else "done", step, run.detector.why)
        shutil.rmtree(run.folder.checkpoints, ignore_errors=True)

    def close(self) -> None:
        for run in self._runs:
            run.close()

    def _hand_over(self) -> None:
        """Write the waiting rows; on a device that runs ahead those sent before, while it computes what comes next."""
        if not self._engine.runs_ahead:
            self._flush()
            return
        self._write_in_flight()
        self._in_flight, self._waiting = StepMetrics(self._waiting, self._engine), []

    def _write_in_flight(self) -> None:
        if self._in_flight is not None:
            self._write(self._in_flight.rows())
            self._in_flight = None

    def _flush(self, step: int = 0, evaluation: Evaluation | None = None) -> list[bool]:
        """Write all rows, the last one with its evaluation; for each seed, whether that is its best."""
        self._write_in_flight()
        rows_S: list[list[dict[str, Any]]] = [[] for _ in self._runs]
        if self._waiting:
            rows_S, self._waiting = StepMetrics(self._waiting, self._engine).rows(), []
        if self._runs and evaluation is not None:
            means = {key: mean_S.tolist() for key, mean_S in evaluation.means.items()}
            for index, rows in enumerate(rows_S):
                if not rows:
                    rows.append({"step": step})
                rows[-1] |= {key: mean_S[index] for key, mean_S in means.items()}
        return self._write(rows_S)

    def _write(self, rows_S: Sequence[list[dict[str, Any]]]) -> list[bool]:
        events = self._engine.take_events()
        return [run.write(rows, events) for run, rows in zip(self._runs, rows_S, strict=True)]

    def _write_status(self, index: int, state: State, step: int, why: str = "") -> None:
        before = self._before[index]
        seconds = before.seconds + time.monotonic() - self._began
        status = Status(state, max(step, 0), self._config.train.steps, why, before.attempts + 1, seconds)
        self._runs[index].folder.write_status(status)


def _of_seed(tensors: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """One seed's part of each tensor, with a seed axis of length 1."""
    return {name: value[index : index + 1] for name, value in tensors.items()}
