"""What a study comes to, in one or two sentences made from its findings."""

import math
from collections.abc import Sequence

from gpt.analysis.contrast_findings import ContrastFindings
from gpt.analysis.findings import Findings, SettingFindings
from gpt.records.formatting import count, fixed, listed
from gpt.report.text.seed_variance import decomposed, spread_sentences
from gpt.report.text.sentences import NO_PAIR, size


def takeaway(findings: Findings) -> str:
    """Verdicts and sizes, what failed, each variant's best setting; or where the spread between runs comes from."""
    spreads = decomposed(findings)
    if not spreads:
        return _of_contrasts(findings)
    return " ".join(spread_sentences(findings.study, setting, spread)[0] for setting, spread in spreads)


def _of_contrasts(findings: Findings) -> str:
    labels = list(dict.fromkeys(contrast.b for contrast in findings.contrasts))
    parts = [_of_variant([contrast for contrast in findings.contrasts if contrast.b == label]) for label in labels]
    parts += [failures(findings), best_settings(findings), sensitivity(findings)]
    return " ".join(f"{part}." for part in parts if part)


def _of_variant(contrasts: Sequence[ContrastFindings]) -> str:
    """`post` against `pre`: **different** at optim.lr = 0.001 (+0.07 [..]) and ...; **inconclusive** at ..."""
    verdicts: dict[str, list[ContrastFindings]] = {}
    for each in contrasts:
        verdicts.setdefault(each.verdict if each.seeds else NO_PAIR, []).append(each)
    parts = []
    for verdict, of in verdicts.items():
        where = listed([f"{each.setting} ({_size(each)})" for each in of])
        parts.append(f"**{verdict}** at {where}" if of[0].setting else f"**{verdict}**, {_size(of[0])}")
    return f"`{contrasts[0].b}` against `{contrasts[0].a}`: {'; '.join(parts)}"


def _size(contrast: ContrastFindings) -> str:
    alone = f", {count(contrast.paired.n, 'surviving pair')} alone" if contrast.among_survivors else ""
    return f"{size(contrast)}{alone}" if contrast.paired.n else "no pair survived" if contrast.seeds else "no pair"


def failures(findings: Findings) -> str:
    """Which variants failed, how often and where."""
    each = [(setting, variant) for setting in findings.settings for variant in setting.variants]
    parts = [
        f"{sum(variant.failed)} of {count(variant.finished, 'run')} with `{variant.label}`{setting.at}"
        for setting, variant in each
        if any(variant.failed)
    ]
    if parts:
        return f"Failed: {listed(parts)}; no other"
    runs = sum(variant.finished for _, variant in each)
    return f"None of {count(runs, 'run')} failed" if runs else ""


def best_settings(findings: Findings) -> str:
    """Each variant's best setting by its mean over the runs that did not fail; empty for a single setting."""
    if len(findings.settings) < 2:
        return ""
    parts = []
    for index, first in enumerate(findings.settings[0].variants):
        if best := best_setting(findings, index):
            mean = fixed(best.variants[index].mean.mean, findings.study.places)
            parts.append(f"`{first.label}` {mean} at {best.label}")
    return f"Each at its best: {listed(parts)}" if parts else ""


def best_setting(findings: Findings, index: int) -> SettingFindings | None:
    """The setting with the best mean of a variant; one in which runs failed only where all settings have such."""
    sign = 1 if findings.study.metric.lower_is_better is not False else -1
    means = [
        (any(setting.variants[index].failed), sign * mean, place)
        for place, setting in enumerate(findings.settings)
        if math.isfinite(mean := setting.variants[index].mean.mean)
    ]
    return findings.settings[min(means)[2]] if means else None


def sensitivity(findings: Findings) -> str:
    """How much is lost on average at a rate that is not the best one, see `gpt.analysis.rate_sensitivity`."""
    rates = findings.rate_sensitivity
    if not rates:
        return ""
    places = max(0, findings.study.places - 1)
    means = [f"{fixed(v.mean.mean, places)} with `{v.label}`" for v in rates.variants if math.isfinite(v.mean.mean)]
    over = count(len(rates.values), "rate")
    return f"Averaged over the {over}, the loss lies above that at the best of them by {listed(means)}" if means else ""
