"""A table that sets what papers claim beside what was measured here; the measured side comes from the findings."""

import math
from collections.abc import Callable, Sequence

from gpt.analysis.findings import Findings
from gpt.analysis.variant_findings import VariantFindings
from gpt.records.formatting import fixed, listed, percent, short
from gpt.report.pages.markup import table
from gpt.report.text.papers import CLAIMS, Claim
from gpt.report.text.sentences import NO_PAIR, size
from gpt.report.text.takeaways import failures

HEADER = ("paper", "what it claims", "what was measured here", "why the two may differ")
Measure = Callable[[Findings], str]
NONE_PUBLISHED = "None of the studies that bear on these papers is published yet."


def papers_table(studies: Sequence[Findings]) -> list[str]:
    """A row for each claim on which a published study bears: the one at full size, else the quick one."""
    published = {findings.study.name: findings for findings in studies}
    rows = []
    for claim in CLAIMS:
        name = next((name for name in (claim.study, f"quick-{claim.study}") if name in published), None)
        if name and (text := _measured(claim, published[name])):
            paper = f"[{claim.paper}](https://arxiv.org/abs/{claim.arxiv})"
            rows.append([paper, claim.claim, f"*{name}*: {text}", claim.scales])
    return [line.replace("---:", "---") for line in table(HEADER, rows)] if rows else [NONE_PUBLISHED]


def _measured(claim: Claim, findings: Findings) -> str:
    """Everything of the findings that bears on a claim; empty where none of it was recorded."""
    measured = [MEASURES[name](findings) for name in claim.measures]
    return " ".join(f"{text}." for text in measured if text)


def _differences(findings: Findings) -> str:
    parts = [
        f"`{c.b}` minus `{c.a}`{c.at} {size(c) or ('no pair survived' if c.seeds else NO_PAIR)} ({c.verdict})"
        for c in findings.contrasts
    ]
    return _sentence(findings.study.metric.title.capitalize(), parts)


def _first_gradients(findings: Findings) -> str:
    """How the gradient of the last layer compares with that of the first before any update, which no rate changes."""
    parts = []
    for variant in findings.settings[0].variants:
        if variant.gradient_quantiles is None:
            continue
        norms = zip(variant.layers, variant.gradient_quantiles.first_step, strict=True)
        by_layer = [norm for name, norm in norms if name.startswith("layer ")]
        if len(by_layer) > 1 and by_layer[0] > 0:
            parts.append(
                f"with `{variant.label}` {short(by_layer[0])} in the first layer and {short(by_layer[-1])} in "
                f"the last (ratio {by_layer[-1] / by_layer[0]:.2f})"
            )
    return _sentence("Gradient norm at the first step", parts)


def _rate_sensitivity(findings: Findings) -> str:
    sensitivity = findings.rate_sensitivity
    if not sensitivity or not any(math.isfinite(v.mean.mean) for v in sensitivity.variants):
        return ""
    each = [f"{fixed(v.mean.mean, 3)} with `{v.label}`" for v in sensitivity.variants if math.isfinite(v.mean.mean)]
    rates = listed([f"{value:g}" for value in sensitivity.values])
    return f"Mean loss above the best rate's, over {rates}: {listed(each)} nats per character"


def _by_variant(
    title: str, number: Callable[[VariantFindings], float], show: Callable[[float], str] = short
) -> Measure:
    """A number of each variant that has it, setting by setting."""

    def text(findings: Findings) -> str:
        parts = []
        for setting in findings.settings:
            numbers = [(number(variant), variant.label) for variant in setting.variants]
            each = [f"{show(value)} with `{label}`" for value, label in numbers if math.isfinite(value)]
            parts += [f"{listed(each)}{setting.at}"] if each else []
        return _sentence(title, parts)

    return text


def _mean_of(name: str) -> Callable[[VariantFindings], float]:
    """Of a secondary scalar."""
    return lambda v: v.secondary[name].mean.mean if name in v.secondary else math.nan


def _distance(variant: VariantFindings) -> float:
    array = variant.arrays.get("attention_distance")
    back = [distance for row in array.ranked or () for distance in row] if array else []
    return sum(back) / len(back) if back else math.nan


def _sentence(title: str, parts: Sequence[str]) -> str:
    return f"{title}: {'; '.join(parts)}" if parts else ""


MEASURES: dict[str, Measure] = {
    "differences": _differences,
    "failures": failures,
    "first_gradients": _first_gradients,
    "clipped": _by_variant("Steps whose gradient was scaled down", _mean_of("clipped_share"), percent),
    "rate_sensitivity": _rate_sensitivity,
    "attention_distance": _by_variant("Mean distance that heads look back, characters", _distance, "{:.1f}".format),
    "median_lookback": _by_variant(
        "Characters that hold half of the gradient with respect to the past", _mean_of("median_lookback")
    ),
    "beyond_context": _by_variant(
        "Loss beyond the trained context minus that within, nats per character", _mean_of("beyond_context")
    ),
    "attention_logit_max": _by_variant("Largest attention logit of a run", _mean_of("attention_logit_max")),
}
"""What a claim may name to have set beside it: a text made from findings and contrasts, empty if not recorded."""
