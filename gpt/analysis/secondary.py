"""What is known of every run beside the primary metric: one number each, with its unit and meaning.

Those of a run's rows, events and use of context are declared here, beside how they are computed; those of its probe
arrays by the probes, in the run's own catalogue.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.context_use import Arrays, loss_added_beyond, loss_added_by_cut, median_lookback
from gpt.records.catalogue import NATS, Entry, Summary
from gpt.records.metric import Metric, parse_metric
from gpt.records.schema import CLIP_SCALE, ENTROPY_COLLAPSE, GRAD_NORM, SPIKE, TEST_LOSS, TRAIN_LOSS, VAL_LOSS

if TYPE_CHECKING:
    from gpt.analysis.run_reader import RunReader

SHORT_CONTEXT = 8
"""characters that the model still sees in the scalar on cut contexts"""


Of = Callable[["RunReader"], float]
"""NaN where there is nothing to tell"""


def _reduced(values: NDArray[np.float64], reduce: Callable[[NDArray[np.float64]], np.floating]) -> float:
    return float(reduce(values)) if len(values) else math.nan


def _of_curve(key: str, reduce: Callable[[NDArray[np.float64]], np.floating]) -> Of:
    return lambda run: _reduced(run.curve(key)[1], reduce)


def _of_norms(reduce: Callable[[NDArray[np.float64]], np.floating]) -> Of:
    """Of the gradient norms that are finite."""

    def of(run: "RunReader") -> float:
        norm = run.curve(GRAD_NORM)[1]
        return _reduced(norm[np.isfinite(norm)], reduce)

    return of


def _of_scaled(reduce: Callable[[NDArray[np.float64]], np.floating]) -> Of:
    """Of the clipping factors below 1."""

    def of(run: "RunReader") -> float:
        scale = run.curve(CLIP_SCALE)[1]
        return _reduced(scale[scale < 1], reduce)

    return of


def _best_step(run: "RunReader") -> float:
    steps, loss = run.curve(VAL_LOSS)
    evaluated = np.isfinite(loss)
    return float(steps[evaluated][np.argmin(loss[evaluated])]) if evaluated.any() else math.nan


def _of_metric(metric: Metric) -> Of:
    return lambda run: run.reduced(metric)


def _events(kind: str) -> Of:
    return lambda run: float(sum(event["kind"] == kind for event in run.events))


def _of_context(number: Callable[[Arrays], float]) -> Of:
    return lambda run: math.nan if run.long_range is None else number(run.long_range)


OF_ROWS: dict[Entry, Of] = {
    Entry(name="val/loss.last", unit=NATS, meaning="validation loss at the end"): _of_curve(VAL_LOSS, lambda v: v[-1]),
    Entry(name="train/loss.last", unit=NATS, meaning="training loss of the last batch"): _of_curve(
        TRAIN_LOSS, lambda v: v[-1]
    ),
    Entry(name="best_step", unit="step", meaning="step of the lowest validation loss"): _best_step,
    Entry(
        name="clipped_share",
        title="steps clipped",
        unit="share of steps",
        meaning="steps whose gradient was scaled down",
    ): _of_curve(CLIP_SCALE, lambda scale: (scale < 1).sum() / len(scale)),
    Entry(name="clip_scale_mean", unit="factor", meaning="mean scale over the scaled steps"): _of_scaled(np.mean),
    Entry(name="clip_scale_median", unit="factor", meaning="median scale over the scaled steps"): _of_scaled(np.median),
    Entry(
        name="grad_norm_median",
        title="median gradient norm",
        unit="loss per weight",
        meaning="median gradient norm before clipping",
    ): _of_norms(np.median),
    Entry(name="grad_norm_max", unit="loss per weight", meaning="largest gradient norm before clipping"): _of_norms(
        np.max
    ),
    Entry(name="spikes", title="loss spikes", unit="count", meaning="jumps of the training loss"): _events(SPIKE),
    Entry(
        name="smallest_spike",
        unit=NATS,
        meaning="smallest jump of the training loss that would have been seen, median over steps",
    ): lambda run: run.info.get("smallest_spike") or math.nan,
    Entry(
        name="entropy_collapses",
        unit="count",
        meaning="times that a layer's attention collapsed onto single characters",
    ): _events(ENTROPY_COLLAPSE),
}
OF_TEST: dict[Entry, Of] = {
    Entry(name=str(metric), unit=NATS, meaning=metric.title): _of_metric(metric)
    for metric in map(parse_metric, ("test/loss.at_best_val", "test/loss.last", "val/loss.min", "heldout/loss.min"))
}
"""of runs with test text alone"""
OF_CONTEXT: dict[Entry, Of] = {
    Entry(
        name="truncation_loss",
        title="truncation loss",
        unit=NATS,
        meaning=f"loss added when the model sees the last {SHORT_CONTEXT} characters alone",
    ): _of_context(lambda arrays: loss_added_by_cut(arrays, SHORT_CONTEXT)),
    Entry(
        name="beyond_context",
        title="cost beyond the context",
        unit=NATS,
        meaning="loss beyond the trained context minus that in its later half",
    ): _of_context(loss_added_beyond),
    Entry(
        name="median_lookback",
        title="median lookback",
        unit="characters",
        meaning="nearest characters that hold half of the gradient with respect to the past",
    ): _of_context(lambda arrays: median_lookback(arrays["dependency"])),
}


def _of_rows(run: "RunReader") -> dict[Entry, Of]:
    return OF_ROWS | OF_TEST if TEST_LOSS in run.curves else OF_ROWS


def secondary_entries(run: "RunReader") -> dict[str, Entry]:
    """What each of a run's secondary scalars is, in the order of a table."""
    of_arrays = [summary for array in run.arrays.values() for summary in array.summaries]
    return {entry.name: entry for entry in (*_of_rows(run), *of_arrays, *OF_CONTEXT)}


def secondary_scalars(run: "RunReader") -> dict[str, float]:
    """The scalars of `secondary_entries`; NaN where there is nothing to tell."""
    of_arrays = {
        summary.name: summarised(run.probes[array.name][1] if array.name in run.probes else None, summary)
        for array in run.arrays.values()
        for summary in array.summaries
    }
    of_rows, of_context = ({entry.name: of(run) for entry, of in each.items()} for each in (_of_rows(run), OF_CONTEXT))
    return {**of_rows, **of_arrays, **of_context}


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
