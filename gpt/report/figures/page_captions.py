"""One or two sentences under each interactive figure: what to see, and the numbers of the setting that is shown."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gpt.analysis.findings import Findings, SettingFindings, StudyFindings
from gpt.config import RunConfig
from gpt.records.formatting import count, decimals, fixed, listed, number
from gpt.report.text.seed_variance import spread_sentences
from gpt.report.text.sentences import sentence

BANDS = "Bands are 95 % t intervals of the mean over seeds"


def captions(data: Mapping[str, Any], found: SettingFindings, study: StudyFindings, base: RunConfig) -> dict[str, str]:
    """By figure.

    Args:
        data: what the page draws of the setting.
        found: the setting in the findings.
    """
    labels = [v.label for v in found.variants]
    runs = listed([f"{v['runs']} with `{label}`" for v, label in zip(data["variants"], labels, strict=True)])
    bands = f"{BANDS} ({runs})."
    context = base.model.context
    return {
        "paired": _paired(found, study),
        **_components(found, study),
        "loss": "Thin lines are single runs, thick ones means over those that did not diverge; dots that end in a "
        "cross are diverged runs; the dashed level is that of a model that knows only how frequent each character is. "
        f"Right: below zero, the variant is ahead of `{labels[0]}` at that step. {bands}",
        "gradients": "Before clipping: lines far apart are layers that learn from gradients of very different size. "
        f"Geometric means over windows of steps. {bands}{data['left_out']}",
        "quantiles": "How the norm of single steps after warm-up spreads in each layer, mean over the runs that did "
        "not diverge: mark the median, thick bar the middle half, thin bar 5 % to 95 %; crosses are the first step. A "
        "long upper arm is a layer with bursts.",
        "clipping": "Left: how often the gradient was scaled down. Right: by what factor, steps left alone counting "
        f"as 1. In windows of steps. {bands}",
        "activations": "From the input on the left to the output on the right, at the chosen step: a size that grows "
        "from layer to layer is a stream that every layer adds to; a high kurtosis is a few outlying channels; dead "
        f"units answer to no position. {bands}",
        "attention": "Solid: mean over a layer's heads with its band over seeds. Thin: single heads of the first run, "
        f"dark near the input. {bands}",
        "heads": "Every head of every run at the last probed step. Heads are not matched between seeds, so look at the "
        "spread: which variants, and which depth, have heads of a kind at all.",
        "heatmap": "Row: the character that looks; column: the character it looks at; the blank half is the future.",
        "positions": "The context is longer on the right: where the lines stop falling, more characters help no more "
        "(from the ninth position on, means over four). "
        f"Beyond position {context} (shaded) the model meets distances it was never trained on. {bands}",
        "context": "The same characters are predicted every time; only how far the model may look back changes. "
        f"{_context(data, labels)}",
        "dependency": "Share of the gradient with respect to the past that falls on the character so many places back; "
        f"vertical lines mark the half-length. {_halves(data, labels)}",
        "updates": "Norm of one step's change over the norm of the weights: layers far apart learn at very different "
        f"speeds. {bands}",
    }


def sensitivity(findings: Findings, names: Sequence[str]) -> str:
    """The caption of the figure over all settings: at which of them each variant's mean is best.

    Args:
        names: of the settings.
    """
    study = findings.study
    lower, places = study.metric.lower_is_better is not False, decimals(study.smallest_effect)
    said = []
    for i, variant in enumerate(findings.settings[0].variants):
        shown = [(setting.variants[i], name) for setting, name in zip(findings.settings, names, strict=True)]
        means = [(v.mean.mean, v, name) for v, name in shown if v.mean.n]
        if not means:
            said.append(f"no run of `{variant.label}` survived")
            continue
        mean, best, name = (min if lower else max)(means, key=lambda each: each[0])
        lost = sum(best.diverged)
        alone = f" ({lost} of {count(len(best.diverged), 'run')} diverged there)" if lost else ""
        said.append(f"`{variant.label}` is best at {name}, {fixed(mean, places)}{alone}")
    text = f"{'; '.join(said)}. "
    return (
        f"{text[0].upper()}{text[1:]}Small marks are runs, large ones their means with 95 % t intervals; crosses count "
        "diverged runs, which have no value. The figures below show the shaded setting."
    )


def _paired(found: SettingFindings, study: StudyFindings) -> str:
    effect = f"{study.smallest_effect:g} {study.metric.unit}"
    said = " ".join(sentence(contrast, study.metric) for contrast in found.contrasts)
    shown = "Left: each grey line joins the runs of one seed, short bars are means."
    if said:
        shown += (
            f" Right: the differences, seed by seed and their mean with its 95 % interval; in the grey zone they are "
            f"too small to matter ({effect})."
        )
    return f"{said} {shown}".strip()


def _components(found: SettingFindings, study: StudyFindings) -> dict[str, str]:
    """Of a study that takes the spread between runs apart."""
    if found.components is None:
        return {}
    sentences = " ".join(spread_sentences(study, found, found.components))
    return {
        "components": f"{sentences} Marks are estimates, bars their 95 % intervals.",
        "crossed": f"{study.metric.title.capitalize()} of each run, {study.metric.unit}: blue is lower and "
        "red higher than the mean. Where one seed decides, rows (or columns) have one colour.",
        "during": "Standard deviation of the validation loss between runs, by source, at every evaluation; estimates "
        "without intervals, negative ones shown as 0.",
    }


def _context(data: Mapping[str, Any], labels: list[str]) -> str:
    """`The last character alone costs 1.234 (pre) and 1.345 (post) nats more than all of it.`"""
    each = []
    for shown in data["long_range"] or []:
        mean = [number(value) for value in shown["context"]["mean"]]
        if len(mean) > 1 and math.isfinite(cost := mean[0] - mean[-1]):
            each.append(f"{fixed(cost, 2)} with `{labels[shown['variant']]}`")
    return f"Seeing one character instead of the whole context costs {listed(each)} nats. " if each else ""


def _halves(data: Mapping[str, Any], labels: list[str]) -> str:
    each = [
        f"{count(round(shown['half']), 'character')} with `{labels[shown['variant']]}`"
        for shown in data["long_range"] or []
        if shown["half"] is not None
    ]
    return f"Half of it lies within the last {listed(each)}. " if each else ""
