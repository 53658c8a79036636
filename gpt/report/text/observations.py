"""What the records show beside the primary metric, in sentences made from the numbers; described, not tested."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from gpt.analysis.findings import SettingFindings, StudyFindings
from gpt.analysis.outcomes import Outcome
from gpt.analysis.secondary import SHORT_CONTEXT
from gpt.analysis.variant_findings import VariantFindings
from gpt.records.formatting import count, listed, percent, short
from gpt.records.schema import ENTROPY_COLLAPSE, SPIKE

HOW: dict[Outcome | None, str] = {
    "non-finite": "became non-finite",
    "learned nothing": "ended at the unigram loss",
    "regressed": "fell back from what they had learned",
}
HEADS = {"attention_distance", "attention_previous", "attention_first", "attention_induction"}
"""arrays that the sentence on heads needs"""


def observations(study: StudyFindings, setting: SettingFindings) -> list[str]:
    """Stability, loss, gradients, clipping, activations, attention and use of context of one setting's variants."""
    variants = [v for v in setting.variants if v.finished]
    if study.kind == "components" or not variants:
        return []
    contexts = [study.config(setting, v)["model.context"] for v in variants]
    sentences = [
        _stability(variants),
        _loss(variants),
        _gradients(variants),
        _gradients_by_layer(variants),
        _clipping(variants),
        _activations(variants),
        _entropy(variants, contexts),
        _heads(variants, contexts),
        _long_range(variants),
    ]
    return [sentence for sentence in sentences if sentence]


def _stability(variants: Sequence[VariantFindings]) -> str:
    each = []
    for v in variants:
        lost = sorted(s for s, gone in zip(v.steps_survived, v.failed, strict=True) if gone and s is not None)
        text = f"with `{v.label}` {sum(v.failed)} of {count(v.finished, 'run')} failed"
        if lost:
            how = [f"{n} {HOW[outcome]}" for outcome, n in Counter(v.outcomes).items() if outcome in HOW]
            when = f"at step {lost[0]}" if lost[0] == lost[-1] else f"at steps {lost[0]} to {lost[-1]}"
            text += f" ({'; '.join([*how, when])})"
        spikes, collapses = (v.events[kind] for kind in (SPIKE, ENTROPY_COLLAPSE))
        text += f", {count(spikes.count, 'loss spike')}"
        if collapses.runs:
            text += f", attention collapsed in {count(collapses.runs, 'run')}"
        each.append((text, bool(lost or spikes.count or collapses.runs), v.finished))
    if not any(unstable for _, unstable, _ in each):
        runs = count(sum(finished for _, _, finished in each), "run")
        parts = [f"none of {runs} failed, no training loss spiked and no attention collapsed"]
    else:
        parts = [text for text, _, _ in each]
    if untold := sum(v.outcomes.count("too short to tell") for v in variants):
        parts.append(f"of {count(untold, 'run')} it is too early to tell whether anything was learned")
    if seen := [f"{_of(v, 'smallest_spike'):.2g} with `{v.label}`" for v in variants if _has(v, "smallest_spike")]:
        parts.append(f"the smallest jump of the loss that would have been seen is {listed(seen)}, in nats")
    return f"Stability: {'; '.join(parts)}."


def _loss(variants: Sequence[VariantFindings]) -> str:
    def describe(v: VariantFindings) -> str:
        if not _has(v, "val/loss.last"):
            return ""
        return (
            f"it is lowest at step {_of(v, 'best_step'):,.0f} on average and ends at {_of(v, 'val/loss.last'):.3f}, "
            f"beside a training loss of {_of(v, 'train/loss.last'):.3f} in the last batch"
        )

    return _each("Loss on validation text", variants, describe)


def _gradients(variants: Sequence[VariantFindings]) -> str:
    medians = [f"{_mean(v, 'grad_norm_median')} with `{v.label}`" for v in variants if _has(v, "grad_norm_median")]
    largest = [
        f"{max(x for x in v.secondary['grad_norm_max'].values if math.isfinite(x)):.3g} with `{v.label}`"
        for v in variants
        if any(map(math.isfinite, v.secondary["grad_norm_max"].values))
    ]
    if not medians:
        return ""
    return f"Gradients: the median norm before clipping is {listed(medians)}; the largest norm is {listed(largest)}."


def _gradients_by_layer(variants: Sequence[VariantFindings]) -> str:
    def describe(v: VariantFindings) -> str:
        if (norms := v.gradient_quantiles) is None:
            return ""
        median, first = np.array(norms.by_layer)[:, norms.levels.index(0.5)], np.array(norms.first_step)
        shown = np.flatnonzero(median > 0)
        if not len(shown):
            return ""
        ends = [f"{values[layer]:.3g} ({v.layers[layer]})" for values in (median, first)
                for layer in (shown[np.argmin(values[shown])], shown[np.argmax(values[shown])])]  # fmt: skip
        return "from {} to {}, at the first step from {} to {}".format(*ends)

    return _each("Gradients by layer, median norm over the steps after warm-up", variants, describe)


def _clipping(variants: Sequence[VariantFindings]) -> str:
    def describe(v: VariantFindings) -> str:
        if not _has(v, "clipped_share"):
            return ""
        scale, quarters = _of(v, "clip_scale_mean"), v.clipped_by_quarter
        by = f" (to {scale:.2f} of their length on average)" if math.isfinite(scale) else ""
        when = ""
        if quarters and max(quarters) > 0:
            when = f", {percent(quarters[0])} in the first quarter of the run and {percent(quarters[-1])} in the last"
        return f"{percent(_of(v, 'clipped_share'))}{by}{when}"

    return _each("Clipping, share of steps whose gradient it scaled down", variants, describe)


def _activations(variants: Sequence[VariantFindings]) -> str:
    def describe(v: VariantFindings) -> str:
        if (stream := v.arrays.get("residual_rms")) is None:
            return ""
        rms = stream.last
        words = (
            f"the stream's root mean square is {rms[0]:.3f} after the embedding and {rms[-1]:.3f} after the last layer"
        )
        if largest := v.arrays.get("residual_max"):
            words += f", its largest value {max(largest.last):.3g}"
        if _has(v, "residual_kurtosis"):
            words += f", its largest excess kurtosis {_of(v, 'residual_kurtosis'):.3g}"
        if dead := v.arrays.get("dead_share"):
            words += f", {percent(sum(dead.last) / len(dead.last))} of the feed-forward units are dead"
        return words

    return _each("Activations at the end of training", variants, describe)


def _entropy(variants: Sequence[VariantFindings], contexts: Sequence[int]) -> str:
    def describe(v: VariantFindings) -> str:
        if (array := v.arrays.get("attention_entropy")) is None:
            return ""
        low, high = int(np.argmin(array.last)), int(np.argmax(array.last))
        return f"{array.last[low]:.2f} (layer {low}) to {array.last[high]:.2f} (layer {high})"

    title = "Attention, entropy in nats at the end of training, averaged over a layer's heads"
    even = "; ".join(
        f"attention spread evenly over {context} positions would have {level:.2f}"
        for context, (level,) in _even(variants, contexts, "attention_entropy")
    )
    return _each(title, variants, describe, even)


def _heads(variants: Sequence[VariantFindings], contexts: Sequence[int]) -> str:
    def describe(v: VariantFindings) -> str:
        if not v.arrays.keys() >= HEADS:
            return ""
        back = v.arrays["attention_distance"].last
        near, far = int(np.argmin(back)), int(np.argmax(back))
        return (
            f"heads look back {back[near]:.1f} (layer {near}) to {back[far]:.1f} characters (layer {far}) on average; "
            f"a layer's best head has up to {_best(v, 'attention_previous')} of its weight on the previous "
            f"character, up to {_best(v, 'attention_first')} on the first one, and up to "
            f"{_best(v, 'attention_induction')} as an induction head; the largest logit at any probed step is "
            f"{_of(v, 'attention_logit_max'):.3g} on average"
        )

    about = "; ".join(
        f"even attention {f'over {context} positions ' if len({*contexts}) > 1 else ''}would look back "
        f"{back:.1f} characters and have {previous:.2f} on the previous one"
        for context, (back, previous) in _even(variants, contexts, "attention_distance", "attention_previous")
    )
    title = "Attention heads and heatmaps at the end of training"
    return _each(title, variants, describe, about)


def _even(variants: Sequence[VariantFindings], contexts: Sequence[int], *names: str) -> list[tuple[int, list[float]]]:
    """Of each context, what attention that is spread evenly would score in some arrays, where all were recorded."""
    even = {}
    for variant, context in zip(variants, contexts, strict=True):
        levels = [variant.arrays[name].neutral for name in names if name in variant.arrays]
        given = [level for level in levels if level is not None]
        if len(given) == len(names):
            even[context] = given
    return sorted(even.items())


def _best(variant: VariantFindings, name: str) -> str:
    """The highest head's score and its layer."""
    highest = [row[0] for row in variant.arrays[name].ranked or []]
    return f"{max(highest):.2f} (layer {int(np.argmax(highest))})"


def _long_range(variants: Sequence[VariantFindings]) -> str:
    def describe(v: VariantFindings) -> str:
        if not _has(v, "median_lookback"):
            return ""
        words = f"half of the gradient with respect to the past lies within {_mean(v, 'median_lookback')} characters"
        if _has(v, "truncation_loss"):
            words += f", seeing the last {SHORT_CONTEXT} alone costs {_mean(v, 'truncation_loss')} nats per character"
        if _has(v, "beyond_context"):
            words += f", positions beyond the trained context cost {_mean(v, 'beyond_context')}"
        return words

    return _each("Long-range use of context", variants, describe)


def _each(
    title: str, variants: Iterable[VariantFindings], describe: Callable[[VariantFindings], str], about: str = ""
) -> str:
    """A sentence with a part for each variant that there is something to say of; empty where there is none."""
    parts = [f"with `{v.label}` {words}" for v in variants if (words := describe(v))]
    return f"{title}: {'; '.join([*parts, about] if about else parts)}." if parts else ""


def _of(variant: VariantFindings, name: str) -> float:
    """The mean of a secondary scalar; NaN where the runs do not know it."""
    return variant.secondary[name].mean.mean if name in variant.secondary else math.nan


def _has(variant: VariantFindings, name: str) -> bool:
    return math.isfinite(_of(variant, name))


def _mean(variant: VariantFindings, name: str) -> str:
    mean = variant.secondary[name].mean
    interval = f" ({short(mean.low)} to {short(mean.high)})" if math.isfinite(mean.low) else ""
    return f"{short(mean.mean)}{interval}"
