"""What the records show beside the primary metric, in sentences made from the numbers; described, not tested."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpt.records.schema import even_entropy
from gpt.study.words import count, listed, percent


def observations(block: Mapping[str, Any], context: int) -> list[str]:
    """Stability, gradients, clipping, residual stream and attention of one block's variants.

    Args:
        block: a block of the findings, its variants filled in.
        context: positions of a probed window.
    """
    variants = [v for v in block["variants"] if any(state in ("done", "diverged") for state in v["states"])]
    if not variants:
        return []
    said = [_stability(variants), _gradients(variants), _clipping(variants)]
    return [sentence for sentence in [*said, _residual(variants), _attention(variants, context)] if sentence]


def _stability(variants: list[Mapping[str, Any]]) -> str:
    each = []
    for v in variants:
        finished = sum(state in ("done", "diverged") for state in v["states"])
        spikes = sum(s for s in v["secondary"]["spikes"]["values"] if math.isfinite(s))
        each.append((v["label"], sum(v["diverged"]), finished, int(spikes)))
    if not any(diverged or spikes for _, diverged, _, spikes in each):
        return (
            f"Stability: none of {count(sum(n for _, _, n, _ in each), 'run')} diverged, and no training loss spiked."
        )
    parts = [f"with `{name}` {d} of {count(n, 'run')} diverged, {count(s, 'loss spike')}" for name, d, n, s in each]
    return f"Stability: {'; '.join(parts)}."


def _gradients(variants: list[Mapping[str, Any]]) -> str:
    medians = [f"{_mean(v, 'grad_norm_median')} with `{v['label']}`" for v in variants if _has(v, "grad_norm_median")]
    largest = [
        f"{max(x for x in v['secondary']['grad_norm_max']['values'] if math.isfinite(x)):.3g} with `{v['label']}`"
        for v in variants
        if any(map(math.isfinite, v["secondary"]["grad_norm_max"]["values"]))
    ]
    if not medians:
        return ""
    return f"Gradients: the median norm before clipping is {listed(medians)}; the largest norm is {listed(largest)}."


def _clipping(variants: list[Mapping[str, Any]]) -> str:
    parts = []
    for v in variants:
        if _has(v, "clipped_share"):
            share = v["secondary"]["clipped_share"]["mean"]["mean"]
            scale = v["secondary"]["clip_scale_mean"]["mean"]["mean"]
            by = f" (to {scale:.2f} of their length on average)" if math.isfinite(scale) else ""
            parts.append(f"with `{v['label']}` {percent(share)}{by}")
    return f"Clipping, share of steps whose gradient it scaled down: {'; '.join(parts)}." if parts else ""


def _residual(variants: list[Mapping[str, Any]]) -> str:
    parts = [
        f"with `{v['label']}` {rms[0]:.3f} and {rms[-1]:.3f}"
        for v in variants
        if (rms := v["layers"].get("residual_rms_after"))
    ]
    place = "Residual stream, root mean square after the embedding and after the last block at the end of training"
    return f"{place}: {'; '.join(parts)}." if parts else ""


def _attention(variants: list[Mapping[str, Any]], context: int) -> str:
    parts = [
        f"with `{v['label']}` {min(entropy):.2f} (block {int(np.argmin(entropy))}) to {max(entropy):.2f} "
        f"(block {int(np.argmax(entropy))})"
        for v in variants
        if (entropy := v["layers"].get("attention_entropy_after"))
    ]
    if not parts:
        return ""
    return (
        f"Attention, entropy in nats at the end of training, averaged over a block's heads: {'; '.join(parts)}; "
        f"attention spread evenly over {context} positions would have {even_entropy(context):.2f}."
    )


def _has(variant: Mapping[str, Any], name: str) -> bool:
    return math.isfinite(variant["secondary"][name]["mean"]["mean"])


def _mean(variant: Mapping[str, Any], name: str) -> str:
    mean = variant["secondary"][name]["mean"]
    interval = f" ({mean['low']:.3g} to {mean['high']:.3g})" if math.isfinite(mean["low"]) else ""
    return f"{mean['mean']:.3g}{interval}"
