"""One run's records, as arrays."""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.outcomes import FAILED, Baselines, Ending, ending
from gpt.analysis.secondary import secondary_scalars
from gpt.errors import InputError
from gpt.read_file import read_bytes
from gpt.records.catalogue import Array, arrays_of, axis_names
from gpt.records.files import read_json
from gpt.records.jsonl import read_jsonl
from gpt.records.metric import Metric
from gpt.records.run_folder import RunFolder, Status, load_arrays
from gpt.records.schema import MICRO_BATCH_GRAD_NORM, NONFINITE, TRAIN_LOSS, VAL_LOSS

Curve = tuple[NDArray[np.int64], NDArray[np.float64]]
"""steps (N,) and values (N,) or (N, layers)"""

EARLY = 0.1
"""share of the run's steps near which the middle one of them lies; attention takes its shape early"""


@dataclass(frozen=True)
class MicroBatchGradNorms:
    """The norms of the parts' mean gradients; how many parts there are may change where a run was resumed."""

    steps: NDArray[np.int64]
    """(N,)"""
    counts: NDArray[np.int64]
    """(N,) parts of each step's batch"""
    norms: NDArray[np.float64]
    """(sum of the counts,) one step's norms after the other's; what was not finite is NaN"""


class RunReader:
    """One run's folder, read when asked and then kept."""

    def __init__(self, folder: RunFolder):
        self.folder = folder
        self.status: Status = folder.read_status()

    @property
    def fingerprint(self) -> str:
        return self.folder.root.name

    @property
    def finished(self) -> bool:
        """Its result will not change any more; a failed run is a result too."""
        return self.status.finished

    @property
    def begun(self) -> bool:
        """There is a folder to look into."""
        return self.folder.root.is_dir()

    @property
    def failed(self) -> bool:
        return self.ending is not None and self.ending.outcome in FAILED

    @cached_property
    def ending(self) -> Ending | None:
        """How a finished run ended; None of any other.

        Raises:
            InputError: see `curves`.
        """
        if not self.finished:
            return None
        if self.status.state == "diverged":  # older versions wrote it of a run that learned nothing, too
            nonfinite = any(event["kind"] == NONFINITE for event in self.events)
            return Ending("non-finite" if nonfinite else "learned nothing", self.status.why)
        data, (steps, val) = self.info["data"], self.curve(VAL_LOSS)
        if "bigram_loss" not in data:
            return Ending("done")
        known = Baselines(data["unigram_loss"], data["bigram_loss"], data["unigram_losses"][TRAIN_LOSS])
        return ending(steps, val, self.curve(TRAIN_LOSS)[1], known)

    @cached_property
    def info(self) -> dict[str, Any]:
        """run.json; empty for a run that was not begun."""
        return read_json(self.folder.run_json) if self.folder.run_json.exists() else {}

    @property
    def curves(self) -> dict[str, Curve]:
        """Every key of the rows but the micro-batches' norms; what was not finite is NaN.

        Raises:
            InputError: a row is corrupt, or rows of a run that is done are missing.
        """
        return self._rows[0]

    @property
    def micro_batch_norms(self) -> MicroBatchGradNorms | None:
        """The gradient norms of the micro-batches; None where they were never recorded.

        Raises:
            InputError: see `curves`.
        """
        return self._rows[1]

    @cached_property
    def _rows(self) -> tuple[dict[str, Curve], MicroBatchGradNorms | None]:
        rows = read_jsonl(self.folder.metrics) if self.folder.metrics.exists() else []
        if self.status.state == "done" and [row.get("step") for row in rows] != list(range(self.status.steps + 1)):
            raise InputError(
                f"{self.folder.metrics}: corrupt, got {len(rows)} rows, must hold each step from 0 to "
                f"{self.status.steps} once"
            )
        steps: defaultdict[str, list[int]] = defaultdict(list)
        values: defaultdict[str, list[Any]] = defaultdict(list)
        try:
            for row in rows:
                for key, value in row.items():
                    steps[key].append(row["step"])
                    values[key].append(value)
            parts = values.pop(MICRO_BATCH_GRAD_NORM, None)
            return (
                {key: (np.array(steps[key]), np.array(values[key], dtype=np.float64)) for key in values},
                None if parts is None else _micro_batch_norms(steps[MICRO_BATCH_GRAD_NORM], parts),
            )
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{self.folder.metrics}: corrupt, every row must hold a step, numbers and lists") from None

    def curve(self, key: str) -> Curve:
        """One key's steps and values; empty where it was never recorded."""
        return self.curves.get(key, (np.empty(0, dtype=np.int64), np.empty(0)))

    def value(self, metric: Metric) -> float:
        """The metric of a run that is finished, else NaN.

        Raises:
            InputError: the run stayed finite and yet has no finite value.
        """
        if not self.finished:
            return math.nan
        value = self.reduced(metric)
        if self.status.state == "done" and not math.isfinite(value):
            raise InputError(f"{self.folder.metrics}: corrupt, the run is done but has no finite {metric}")
        return value

    def reduced(self, metric: Metric) -> float:
        """The metric of the rows that there are; NaN where none holds it."""
        rows: defaultdict[int, dict[str, float]] = defaultdict(dict)
        for key in (VAL_LOSS, metric.key):
            for step, number in zip(*map(np.ndarray.tolist, self.curve(key)), strict=True):
                rows[step][key] = number
        return metric.of(rows[step] for step in sorted(rows))

    @cached_property
    def secondary(self) -> dict[str, float]:
        """See `gpt.analysis.secondary`."""
        return secondary_scalars(self)

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        return read_jsonl(self.folder.events) if self.folder.events.exists() else []

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """What the run says of the arrays that it may have recorded.

        Raises:
            InputError: that part of run.json is corrupt.
        """
        try:
            return arrays_of(self.info)
        except ValueError:
            raise InputError(f"{self.folder.run_json}: corrupt, `arrays` must describe the recorded arrays") from None

    def array(self, name: str) -> Array:
        """What the run says of one array; nothing but its name where it was not declared."""
        return self.arrays.get(name) or Array(name=name, title=name, axes=())

    def axis_names(self, name: str, shape: Sequence[int]) -> list[list[str]]:
        """For each axis of a recorded array a name for each entry, `layer 0`; numbers where entries have no names.

        Args:
            shape: of the array, without seeds or steps.
        """
        axes = itertools.chain(self.array(name).axes, itertools.repeat(""))
        return [axis_names(axis, size, self.info["layers"]) for axis, size in zip(axes, shape, strict=False)]

    @cached_property
    def probes(self) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Each probe array over the probed steps: steps (N,) and values (N, ...); heatmaps, which are large, at few."""
        by_name: defaultdict[str, list[tuple[int, NDArray[np.float32]]]] = defaultdict(list)
        steps = self.folder.probe_steps()
        kept = heatmap_steps(steps)
        for step in steps:
            for name, array in load_arrays(self.folder.probe_file(step)).items():
                if step in kept or not self.array(name).is_heatmap:
                    by_name[name].append((step, array.astype(np.float32)))
        return {
            name: (np.array([step for step, _ in taken]), np.stack([array for _, array in taken]))
            for name, taken in by_name.items()
        }

    @cached_property
    def long_range(self) -> dict[str, NDArray[np.float64]] | None:
        """How the trained model uses its context, see `gpt.analysis.context_use`; None where it was not measured.

        Raises:
            InputError: the file is corrupt.
        """
        path = self.folder.long_range
        return {n: a.astype(np.float64) for n, a in load_arrays(path).items()} if path.exists() else None

    @cached_property
    def window_losses(self) -> dict[str, NDArray[Any]] | None:
        """The losses of the held-out windows, see `gpt.records.schema`; None where there is no test text.

        Raises:
            InputError: the file is corrupt.
        """
        path = self.folder.window_losses
        return load_arrays(path) if path.exists() else None

    @property
    def sample(self) -> str:
        """Text that the run's best model wrote; empty if none."""
        return read_bytes(self.folder.samples).decode("utf-8", "replace") if self.folder.samples.exists() else ""


def _micro_batch_norms(steps: list[int], parts: list[Any]) -> MicroBatchGradNorms:
    counts = np.array([len(norms) for norms in parts])
    return MicroBatchGradNorms(
        np.array(steps), counts, np.array([norm for norms in parts for norm in norms], dtype=np.float64)
    )


def heatmap_steps(steps: Sequence[int]) -> list[int]:
    """Of the probed steps, the first, the one between them that is nearest to an early step, and the last."""
    if not steps:
        return []
    early = min(steps[1:-1] or steps, key=lambda step: abs(step - EARLY * steps[-1]))
    return sorted({steps[0], early, steps[-1]})


def mean_probe(runs: Sequence[RunReader], name: str) -> NDArray[np.float64] | None:
    """Mean over runs of a probe array at the first and the last probed step, (2, ...); None if any lacks it."""
    if not runs or any(name not in run.probes for run in runs):
        return None
    return np.mean([run.probes[name][1][[0, -1]] for run in runs], axis=0, dtype=np.float64)
