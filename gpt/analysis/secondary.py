"""What is told of every run beside the primary metric: one number each, with its unit and meaning."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.context_use import loss_added_beyond, loss_added_by_cut, median_lookback
from gpt.records.schema import CLIP_SCALE, ENTROPY_COLLAPSE, GRAD_NORM, SPIKE, TRAIN_LOSS, VAL_LOSS

if TYPE_CHECKING:
    from gpt.analysis.collect import RunReader

SHORT_CONTEXT = 8
"""characters that the model still sees in the scalar on cut contexts"""

SECONDARY: dict[str, tuple[str, str]] = {
    "val/loss.last": ("nats per character", "validation loss at the end"),
    "train/loss.last": ("nats per character", "training loss of the last batch"),
    "best_step": ("step", "step of the lowest validation loss"),
    "clipped_share": ("share of steps", "steps whose gradient was scaled down"),
    "clip_scale_mean": ("factor", "mean scale over the scaled steps"),
    "clip_scale_median": ("factor", "median scale over the scaled steps"),
    "grad_norm_median": ("loss per weight", "median gradient norm before clipping"),
    "grad_norm_max": ("loss per weight", "largest gradient norm before clipping"),
    "spikes": ("count", "jumps of the training loss"),
    "entropy_collapses": ("count", "runs in which a layer's attention collapsed onto single characters"),
    "attention_entropy": ("nats", "entropy of attention at the end, mean over all heads"),
    "attention_logit_max": ("logit", "largest attention logit at any probed step"),
    "attention_previous": ("attention weight", "weight of the best previous-character head at the end"),
    "attention_induction": ("attention weight", "weight of the best induction head at the end"),
    "residual_growth": ("factor", "size of the residual stream after the last layer over that after the embedding"),
    "residual_kurtosis": ("excess kurtosis", "of the residual stream at the end, largest over its places"),
    "dead_share": ("share of units", "feed-forward units that are silent at the end"),
    "truncation_loss": (
        "nats per character",
        f"loss added when the model sees the last {SHORT_CONTEXT} characters alone",
    ),
    "beyond_context": ("nats per character", "loss beyond the trained context minus that in its later half"),
    "median_lookback": ("characters", "nearest characters that hold half of the gradient with respect to the past"),
}
"""Unit and meaning of every secondary scalar."""


def is_share(name: str) -> bool:
    """The scalar is a part of a whole, which reads best in per cent."""
    return SECONDARY[name][0].startswith("share")


def secondary_scalars(run: "RunReader") -> dict[str, float]:
    """The scalars of `SECONDARY`; NaN where there is nothing to tell."""
    return {**_of_rows(run), **_of_events(run), **_of_probes(run), **_of_long_range(run)}


def _of_rows(run: "RunReader") -> dict[str, float]:
    val_steps, val_loss = run.curve(VAL_LOSS)
    train_loss, norm, scale = (run.curve(key)[1] for key in (TRAIN_LOSS, GRAD_NORM, CLIP_SCALE))
    scaled = scale[scale < 1]
    norm, evaluated = norm[np.isfinite(norm)], np.isfinite(val_loss)
    return {
        "val/loss.last": _last(val_loss),
        "train/loss.last": _last(train_loss),
        "best_step": float(val_steps[evaluated][np.argmin(val_loss[evaluated])]) if evaluated.any() else math.nan,
        "clipped_share": len(scaled) / len(scale) if len(scale) else math.nan,
        "clip_scale_mean": float(scaled.mean()) if len(scaled) else math.nan,
        "clip_scale_median": float(np.median(scaled)) if len(scaled) else math.nan,
        "grad_norm_median": float(np.median(norm)) if len(norm) else math.nan,
        "grad_norm_max": float(norm.max()) if len(norm) else math.nan,
    }


def _of_events(run: "RunReader") -> dict[str, float]:
    kinds = [event["kind"] for event in run.events]
    return {"spikes": float(kinds.count(SPIKE)), "entropy_collapses": float(kinds.count(ENTROPY_COLLAPSE))}


def _of_probes(run: "RunReader") -> dict[str, float]:
    probes = run.probes
    last = {name: values[-1].astype(np.float64) for name, (_, values) in probes.items()}
    rms = last.get("residual_rms")
    found = {
        "attention_entropy": _mean(last.get("attention_entropy")),
        "attention_logit_max": _max(probes["attention_logit_max"][1] if "attention_logit_max" in probes else None),
        "residual_growth": float(rms[-1] / rms[0]) if rms is not None and rms[0] > 0 else math.nan,
        "residual_kurtosis": _max(last.get("residual_kurtosis")),
        "dead_share": _mean(last.get("dead_share")),
    }
    return found | {name: _max(last.get(name)) for name in ("attention_previous", "attention_induction")}


def _of_long_range(run: "RunReader") -> dict[str, float]:
    arrays = run.long_range
    if arrays is None:
        return dict.fromkeys(("truncation_loss", "beyond_context", "median_lookback"), math.nan)
    return {
        "truncation_loss": loss_added_by_cut(arrays, SHORT_CONTEXT),
        "beyond_context": loss_added_beyond(arrays),
        "median_lookback": median_lookback(arrays["dependency"]),
    }


def _last(values: NDArray[np.float64]) -> float:
    return float(values[-1]) if len(values) else math.nan


def _mean(values: NDArray[np.float64] | None) -> float:
    return math.nan if values is None else float(values.mean())


def _max(values: NDArray[np.floating] | None) -> float:
    """The largest finite value."""
    finite = np.empty(0) if values is None else values[np.isfinite(values)]
    return float(finite.max()) if finite.size else math.nan
