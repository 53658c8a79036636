"""A table that sets what papers claim beside what was measured here; the measured side comes from the findings."""

import math
from collections.abc import Callable, Sequence

from gpt.analysis.findings import Findings
from gpt.records.formatting import decimals, fixed, interval, listed, percent, short, signed
from gpt.report.pages.markup import table
from gpt.report.pages.tables import NOTHING
from gpt.report.text.papers import CLAIMS, Claim
from gpt.report.text.takeaways import divergences

HEADER = ("paper", "what it claims", "what was measured here", "why the two may differ")
NONE_PUBLISHED = "None of the studies that bear on these papers is published yet."


def papers_table(studies: Sequence[Findings]) -> list[str]:
    """A row for each claim on which a published study bears: the one at full size, else the quick one."""
    published = {findings.study.name: findings for findings in studies}
    rows = []
    for claim in CLAIMS:
        name = next((name for name in (claim.study, f"quick-{claim.study}") if name in published), None)
        if name and (said := _measured(claim, published[name])):
            paper = f"[{claim.paper}](https://arxiv.org/abs/{claim.arxiv})"
            rows.append([paper, claim.claim, f"*{name}*: {said}", claim.scales])
    return [line.replace("---:", "---") for line in table(HEADER, rows)] if rows else [NONE_PUBLISHED]


def _measured(claim: Claim, findings: Findings) -> str:
    """Everything of the findings that bears on a claim; empty where none of it was recorded."""
    measured = [MEASURES[name](findings) for name in claim.measures]
    return " ".join(f"{text}." for text in measured if text)


def _differences(findings: Findings) -> str:
    said = []
    for contrast in findings.contrasts:
        paired = contrast.paired
        places = decimals(contrast.smallest_effect)
        where = f" at {contrast.setting}" if contrast.setting else ""
        size = f"{signed(paired.mean_difference, places)} {interval(paired.low, paired.high, places)}"
        shown = size.removesuffix(" -") if paired.n else "no pair survived" if contrast.seeds else NOTHING
        said.append(f"`{contrast.b}` minus `{contrast.a}`{where} {shown} ({contrast.verdict})")
    return f"Lowest validation loss: {'; '.join(said)}" if said else ""


def _first_gradients(findings: Findings) -> str:
    """How the gradient of the last layer compares with that of the first before any update, which no rate changes."""
    said = []
    for variant in findings.settings[0].variants:
        if variant.gradient_quantiles is None:
            continue
        norms = dict(zip(variant.layers, variant.gradient_quantiles.first_step, strict=True))
        by_layer = [norm for name, norm in norms.items() if name.startswith("layer ")]
        if len(by_layer) > 1 and by_layer[0] > 0:
            said.append(
                f"with `{variant.label}` {short(by_layer[0])} in the first layer and {short(by_layer[-1])} in "
                f"the last (ratio {by_layer[-1] / by_layer[0]:.2f})"
            )
    return f"Gradient norm at the first step: {'; '.join(said)}" if said else ""


def _clipped(findings: Findings) -> str:
    return _means(findings, "clipped_share", "Steps whose gradient was scaled down", percent)


def _rate_sensitivity(findings: Findings) -> str:
    found = findings.rate_sensitivity
    if not found:
        return ""
    said = [f"{fixed(v.mean.mean, 3)} with `{v.label}`" for v in found.variants if math.isfinite(v.mean.mean)]
    rates = listed([f"{value:g}" for value in found.values])
    return f"Mean loss above the best rate's, over {rates}: {listed(said)} nats per character" if said else ""


def _means(findings: Findings, name: str, title: str, show: Callable[[float], str] = short) -> str:
    """A secondary scalar of each variant, setting by setting."""
    said = []
    for setting in findings.settings:
        where = f" at {setting.label}" if setting.label else ""
        each = [
            f"{show(mean)} with `{variant.label}`"
            for variant in setting.variants
            if name in variant.secondary and math.isfinite(mean := variant.secondary[name].mean.mean)
        ]
        if each:
            said.append(f"{listed(each)}{where}")
    return f"{title}: {'; '.join(said)}" if said else ""


def _scalar(name: str, title: str) -> Callable[[Findings], str]:
    return lambda findings: _means(findings, name, title)


def _distance(findings: Findings) -> str:
    said = []
    for setting in findings.settings:
        where = f" at {setting.label}" if setting.label else ""
        each = []
        for variant in setting.variants:
            if (array := variant.arrays.get("attention_distance")) and (rows := array.ranked):
                back = [distance for row in rows for distance in row]
                each.append(f"{sum(back) / len(back):.1f} with `{variant.label}`")
        if each:
            said.append(f"{listed(each)}{where}")
    return f"Mean distance that heads look back, characters: {'; '.join(said)}" if said else ""


MEASURES: dict[str, Callable[[Findings], str]] = {
    "differences": _differences,
    "divergences": divergences,
    "first_gradients": _first_gradients,
    "clipped": _clipped,
    "rate_sensitivity": _rate_sensitivity,
    "attention_distance": _distance,
    "median_lookback": _scalar("median_lookback", "Characters that hold half of the gradient with respect to the past"),
    "beyond_context": _scalar(
        "beyond_context", "Loss beyond the trained context minus that within, nats per character"
    ),
    "attention_logit_max": _scalar("attention_logit_max", "Largest attention logit of a run"),
}
"""What a claim may name to have set beside it: a text made from findings and contrasts, empty if not recorded."""
