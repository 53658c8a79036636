"""Several settings in one table: the main numbers of every variant in every setting."""

import math

from gpt.analysis.findings import Findings
from gpt.analysis.variant_findings import VariantFindings
from gpt.records.catalogue import Entry
from gpt.records.formatting import MISSING, fixed, percent, short
from gpt.report.pages.markup import table


def summary_table(findings: Findings) -> list[str]:
    """A row for each setting and variant; a scalar that no run recorded has no column."""
    study, settings = findings.study, findings.settings
    places = study.places
    shown = [
        entry
        for entry in findings.secondary
        if entry.title and any(math.isfinite(_mean(v, entry)) for setting in settings for v in setting.variants)
    ]
    rows = []
    for setting in settings:
        for variant in setting.variants:
            mean = variant.mean
            loss = f"{fixed(mean.mean, places)} ({fixed(mean.sd, places)})"
            rows.append([
                f"`{variant.label}`, {setting.label}",
                loss if mean.n else MISSING,
                f"{sum(variant.failed)} of {variant.finished}",
                *(_number(variant, entry) for entry in shown),
            ])  # fmt: skip
    return table(["", f"{study.metric.title} (sd)", "failed", *(entry.title for entry in shown)], rows)


def explained(findings: Findings) -> str:
    """What the columns are; one text for all tables of a page."""
    parts = [f"*{entry.title}*: {entry.meaning}" for entry in findings.secondary if entry.title]
    scored = any(math.isfinite(each.failed_score) for each in findings.contrasts)
    metric = ", of the metric over all, a failed one counting as the unigram baseline" if scored else ""
    return f"Means over the runs that did not fail{metric}. {'; '.join(parts)}."


def _number(variant: VariantFindings, entry: Entry) -> str:
    mean = _mean(variant, entry)
    return percent(mean) if entry.is_share else short(mean)


def _mean(variant: VariantFindings, entry: Entry) -> float:
    return variant.secondary[entry.name].mean.mean
