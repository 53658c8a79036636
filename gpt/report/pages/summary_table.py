"""Several settings in one table: the main numbers of every variant in every setting."""

import math

from gpt.analysis.findings import Findings, VariantFindings
from gpt.analysis.secondary import is_share
from gpt.records.formatting import MISSING, decimals, fixed, percent, short
from gpt.report.pages.markup import table

COLUMNS = {
    "grad_norm_median": "median gradient norm",
    "clipped_share": "steps clipped",
    "spikes": "loss spikes",
    "residual_growth": "growth of the stream",
    "dead_share": "dead units",
    "attention_entropy": "attention entropy",
    "attention_logit_max": "largest logit",
    "attention_induction": "best induction head",
    "median_lookback": "half-length",
    "truncation_loss": "cost of a cut context",
    "beyond_context": "cost beyond the context",
}
"""Secondary scalars and what their columns are called."""


def condensed(findings: Findings) -> list[str]:
    """A row for each setting and variant; a scalar that no run recorded has no column."""
    study, settings = findings.study, findings.settings
    places = decimals(study.smallest_effect)
    shown = [
        name
        for name in COLUMNS
        if any(math.isfinite(_mean(variant, name)) for setting in settings for variant in setting.variants)
    ]
    rows = []
    for setting in settings:
        for variant in setting.variants:
            mean = variant.mean
            loss = f"{fixed(mean.mean, places)} ({fixed(mean.sd, places)})"
            rows.append([
                f"`{variant.label}`, {setting.label}",
                loss if mean.n else MISSING,
                f"{sum(variant.diverged)} of {variant.finished}",
                *(_run(variant, name) for name in shown),
            ])  # fmt: skip
    return table(["", f"{study.metric.title} (sd)", "diverged", *(COLUMNS[name] for name in shown)], rows)


def explained(findings: Findings) -> str:
    """What the columns are; one text for all tables of a page."""
    described = findings.settings[0].variants[0].secondary
    parts = [f"*{COLUMNS[name]}*: {described[name].description}" for name in COLUMNS if name in described]
    return f"Means over the runs that did not diverge. {'; '.join(parts)}."


def _run(variant: VariantFindings, name: str) -> str:
    mean = _mean(variant, name)
    return percent(mean) if is_share(name) else short(mean)


def _mean(variant: VariantFindings, name: str) -> float:
    """NaN where the findings are older than the scalar, too."""
    scalar = variant.secondary.get(name)
    return scalar.mean.mean if scalar else math.nan
