"""A variant's runs in more than single numbers: by layer, by head, by distance, by quantile, over training.

Everything is a mean over the runs that did not fail, so that what a figure shows can be read off the findings.
Shapes: S run, L layer, H head, Q quantile, G layer with parameters.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.collect import Group
from gpt.analysis.context_use import cumulative_share
from gpt.analysis.run_reader import RunReader, mean_probe
from gpt.analysis.statistics.means import mean_interval
from gpt.analysis.variant_findings import ArrayFindings, EventCount, GradientQuantiles, LongRange, MeanCurve
from gpt.records.catalogue import BY_LAYER
from gpt.records.formatting import significant
from gpt.records.schema import CLIP_SCALE, EVENTS, LAYER_GRAD_NORM

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""of a layer's gradient norm over the steps after warm-up"""
QUARTERS = 4
"""stretches of the run whose clipping is told apart"""


def summaries(group: Group) -> dict[str, Any]:
    """Everything of this file that the runs recorded, and what became of them; fields of `VariantFindings`."""
    survivors, finished = group.survivors, [run for run in group.runs if run.finished]
    return {
        "layers": survivors[0].info["layers"] if survivors else [],
        "arrays": _arrays(survivors),
        "events": _events(finished),
        "steps_survived": [run.status.step if run.finished else None for run in group.runs],
        "gradient_quantiles": gradient_quantiles(survivors),
        "clipped_by_quarter": _clipped_by_quarter(survivors),
        "long_range": _long_range(survivors),
    }


def _arrays(runs: Sequence[RunReader]) -> dict[str, ArrayFindings]:
    """Means over runs of every array that runs along the layers, and over heads where there are several.

    A head of one seed has no counterpart in another, so that a mean by a head's number would mean nothing; by rank
    within its layer, the highest first, it does.
    """
    summarised = {}
    for array in runs[0].arrays.values() if runs else ():
        along, others = array.axes[:1], array.axes[1:]
        mean_NL = mean_probe(runs, array.name) if set(along) & set(BY_LAYER) and others in ((), ("head",)) else None
        if mean_NL is None:
            continue
        ranked = None
        if others:
            mean_NL = mean_NL.mean(axis=2)
            ranked_SLH = -np.sort([-run.probes[array.name][1][-1] for run in runs], axis=-1)
            ranked = ranked_SLH.mean(axis=0, dtype=np.float64).tolist()
        summarised[array.name] = ArrayFindings(array.neutral, mean_NL[0].tolist(), mean_NL[-1].tolist(), ranked)
    return summarised


def _events(finished: Sequence[RunReader]) -> dict[str, EventCount]:
    """Of each kind, how many there were, in how many runs."""
    each = [Counter(event["kind"] for event in run.events) for run in finished]
    return {
        kind: EventCount(sum(kinds[kind] for kinds in each), sum(kinds[kind] > 0 for kinds in each)) for kind in EVENTS
    }


def gradient_quantiles(runs: Sequence[RunReader]) -> GradientQuantiles | None:
    """Each layer's gradient norm before clipping: at the first step, and its quantiles over the steps after warm-up."""
    first_SG, quantiles_SQG = [], []
    for run in runs:
        steps, norm_NG = run.curve(LAYER_GRAD_NORM)
        settled = steps > run.info["config"]["optim"]["warmup_steps"]
        if not settled.any():
            return None
        first_SG.append(norm_NG[0])
        quantiles_SQG.append(np.quantile(norm_NG[settled], LEVELS, axis=0))
    if not runs:
        return None
    return GradientQuantiles(
        list(LEVELS), np.mean(first_SG, axis=0).tolist(), np.mean(quantiles_SQG, axis=0).T.tolist()
    )


def _clipped_by_quarter(runs: Sequence[RunReader]) -> list[float] | None:
    """Share of steps whose gradient was scaled down, in each quarter of the run."""
    scales = [run.curve(CLIP_SCALE)[1] for run in runs]
    if not scales or min(map(len, scales)) < QUARTERS:
        return None
    shares = [[float((part < 1).mean()) for part in np.array_split(scale, QUARTERS)] for scale in scales]
    return np.mean(shares, axis=0).tolist()


def _long_range(runs: Sequence[RunReader]) -> LongRange | None:
    """How the trained models use their context: means with 95 % intervals, see `gpt.analysis.context_use`."""
    arrays = [run.long_range for run in runs if run.long_range is not None]
    if not arrays or len(arrays) < len(runs):
        return None
    return LongRange(
        n=len(arrays),
        context=len(arrays[0]["dependency"]),
        loss_by_position=_curve(np.stack([a["loss_by_position"] for a in arrays])),
        context_lengths=[int(length) for length in arrays[0]["context_lengths"]],
        context_loss=_curve(np.stack([a["context_loss"] for a in arrays])),
        cumulative_share=_curve(np.stack([cumulative_share(a["dependency"]) for a in arrays])),
    )


def _curve(values_SN: NDArray[np.float64]) -> MeanCurve:
    means = [mean_interval(column) for column in values_SN.T]
    return MeanCurve(**{end: [significant(getattr(mean, end)) for mean in means] for end in ("mean", "low", "high")})
