"""What is known of every run beside the primary metric: one number each, with its unit and meaning.

Those of a run's rows, events and use of context are declared here, beside how they are computed; those of its probe
arrays by the probes, in the run's own catalogue.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.context_use import Arrays, loss_added_beyond, loss_added_by_cut, median_lookback
from gpt.records.catalogue import NATS, Entry, Summary
from gpt.records.schema import CLIP_SCALE, ENTROPY_COLLAPSE, GRAD_NORM, SPIKE, TRAIN_LOSS, VAL_LOSS

if TYPE_CHECKING:
    from gpt.analysis.collect import RunReader

SHORT_CONTEXT = 8
"""characters that the model still sees in the scalar on cut contexts"""


@dataclass(frozen=True)
class Computed:
    entry: Entry
    of: "Callable[[RunReader], float]"


def _last(run: "RunReader", key: str) -> float:
    values = run.curve(key)[1]
    return float(values[-1]) if len(values) else math.nan


def _best_step(run: "RunReader") -> float:
    steps, loss = run.curve(VAL_LOSS)
    evaluated = np.isfinite(loss)
    return float(steps[evaluated][np.argmin(loss[evaluated])]) if evaluated.any() else math.nan


def _clipped_share(run: "RunReader") -> float:
    scale = run.curve(CLIP_SCALE)[1]
    return float((scale < 1).sum() / len(scale)) if len(scale) else math.nan


def _of_scaled(run: "RunReader", reduce: Callable[[NDArray[np.float64]], np.floating]) -> float:
    scale = run.curve(CLIP_SCALE)[1]
    return _reduced(scale[scale < 1], reduce)


def _of_norms(run: "RunReader", reduce: Callable[[NDArray[np.float64]], np.floating]) -> float:
    norm = run.curve(GRAD_NORM)[1]
    return _reduced(norm[np.isfinite(norm)], reduce)


def _reduced(values: NDArray[np.float64], reduce: Callable[[NDArray[np.float64]], np.floating]) -> float:
    return float(reduce(values)) if len(values) else math.nan


def _events(run: "RunReader", kind: str) -> float:
    return float(sum(event["kind"] == kind for event in run.events))


def _of_context(run: "RunReader", number: Callable[[Arrays], float]) -> float:
    return math.nan if run.long_range is None else number(run.long_range)


OF_ROWS = (
    Computed(
        Entry(name="val/loss.last", unit=NATS, meaning="validation loss at the end"), lambda run: _last(run, VAL_LOSS)
    ),
    Computed(
        Entry(name="train/loss.last", unit=NATS, meaning="training loss of the last batch"),
        lambda run: _last(run, TRAIN_LOSS),
    ),
    Computed(Entry(name="best_step", unit="step", meaning="step of the lowest validation loss"), _best_step),
    Computed(
        Entry(
            name="clipped_share",
            title="steps clipped",
            unit="share of steps",
            meaning="steps whose gradient was scaled down",
        ),
        _clipped_share,
    ),
    Computed(
        Entry(name="clip_scale_mean", unit="factor", meaning="mean scale over the scaled steps"),
        lambda run: _of_scaled(run, np.mean),
    ),
    Computed(
        Entry(name="clip_scale_median", unit="factor", meaning="median scale over the scaled steps"),
        lambda run: _of_scaled(run, np.median),
    ),
    Computed(
        Entry(
            name="grad_norm_median",
            title="median gradient norm",
            unit="loss per weight",
            meaning="median gradient norm before clipping",
        ),
        lambda run: _of_norms(run, np.median),
    ),
    Computed(
        Entry(name="grad_norm_max", unit="loss per weight", meaning="largest gradient norm before clipping"),
        lambda run: _of_norms(run, np.max),
    ),
    Computed(
        Entry(name="spikes", title="loss spikes", unit="count", meaning="jumps of the training loss"),
        lambda run: _events(run, SPIKE),
    ),
    Computed(
        Entry(
            name="entropy_collapses",
            unit="count",
            meaning="times that a layer's attention collapsed onto single characters",
        ),
        lambda run: _events(run, ENTROPY_COLLAPSE),
    ),
)
OF_CONTEXT = (
    Computed(
        Entry(
            name="truncation_loss",
            title="truncation loss",
            unit=NATS,
            meaning=f"loss added when the model sees the last {SHORT_CONTEXT} characters alone",
        ),
        lambda run: _of_context(run, lambda arrays: loss_added_by_cut(arrays, SHORT_CONTEXT)),
    ),
    Computed(
        Entry(
            name="beyond_context",
            title="cost beyond the context",
            unit=NATS,
            meaning="loss beyond the trained context minus that in its later half",
        ),
        lambda run: _of_context(run, loss_added_beyond),
    ),
    Computed(
        Entry(
            name="median_lookback",
            title="median lookback",
            unit="characters",
            meaning="nearest characters that hold half of the gradient with respect to the past",
        ),
        lambda run: _of_context(run, lambda arrays: median_lookback(arrays["dependency"])),
    ),
)


def secondary_entries(run: "RunReader") -> dict[str, Entry]:
    """What each of a run's secondary scalars is, in the order of a table."""
    of_arrays = [summary for array in run.arrays.values() for summary in array.summaries]
    found = [*(each.entry for each in OF_ROWS), *of_arrays, *(each.entry for each in OF_CONTEXT)]
    return {entry.name: entry for entry in found}


def secondary_scalars(run: "RunReader") -> dict[str, float]:
    """The scalars of `secondary_entries`; NaN where there is nothing to tell."""
    of_arrays = {
        summary.name: summarised(run.probes[array.name][1] if array.name in run.probes else None, summary)
        for array in run.arrays.values()
        for summary in array.summaries
    }
    return {
        **{each.entry.name: each.of(run) for each in OF_ROWS},
        **of_arrays,
        **{each.entry.name: each.of(run) for each in OF_CONTEXT},
    }


def summarised(values: NDArray[np.float32] | None, summary: Summary) -> float:
    """An array over the probed steps (N, ...) as one number; NaN where it was not measured."""
    if values is None:
        return math.nan
    used = values if summary.steps == "all" else values[-1].astype(np.float64)
    if summary.over == "growth":
        return float(used[..., -1] / used[..., 0]) if used[..., 0] > 0 else math.nan
    if summary.over == "mean":
        return float(used.mean())
    finite = used[np.isfinite(used)]
    return float(finite.max()) if finite.size else math.nan
