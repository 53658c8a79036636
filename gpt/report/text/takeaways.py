"""What a study comes to, in one or two sentences made from its findings."""

import math
from collections.abc import Sequence

from gpt.analysis.findings import ContrastFindings, Findings, SettingFindings
from gpt.records.formatting import count, decimals, fixed, interval, listed, signed
from gpt.report.text.seed_variance import decomposed, spread_sentences


def takeaway(findings: Findings) -> str:
    """Verdicts and sizes, what diverged, each variant's best setting; or where the spread between runs comes from."""
    spreads = decomposed(findings)
    if not spreads:
        return _of_contrasts(findings)
    return " ".join(spread_sentences(findings.study, setting, found)[0] for setting, found in spreads)


def _of_contrasts(findings: Findings) -> str:
    labels = list(dict.fromkeys(contrast.b for contrast in findings.contrasts))
    said = [_of_variant([contrast for contrast in findings.contrasts if contrast.b == label]) for label in labels]
    parts = [*said, divergences(findings), best_settings(findings), sensitivity(findings)]
    return " ".join(f"{part}." for part in parts if part)


def _of_variant(contrasts: Sequence[ContrastFindings]) -> str:
    """`post` against `pre`: **different** at optim.lr = 0.001 (+0.07 [..]) and ...; **inconclusive** at ..."""
    verdicts: dict[str, list[ContrastFindings]] = {}
    for each in contrasts:
        verdicts.setdefault(each.verdict if each.seeds else "no pair yet", []).append(each)
    parts = [
        f"**{verdict}**{_where(of)}" if of[0].setting else f"**{verdict}**, {_size(of[0])}"
        for verdict, of in verdicts.items()
    ]
    return f"`{contrasts[0].b}` against `{contrasts[0].a}`: {'; '.join(parts)}"


def _where(contrasts: Sequence[ContrastFindings]) -> str:
    return f" at {listed([f'{contrast.setting} ({_size(contrast)})' for contrast in contrasts])}"


def _size(contrast: ContrastFindings) -> str:
    paired, places = contrast.paired, decimals(contrast.smallest_effect)
    if not paired.n:
        return "no pair survived" if contrast.seeds else "no pair"
    alone = f", {count(paired.n, 'surviving pair')} alone" if contrast.among_survivors else ""
    size = f"{signed(paired.mean_difference, places)} {interval(paired.low, paired.high, places)}"
    return size.removesuffix(" -") + alone


def divergences(findings: Findings) -> str:
    """Which variants diverged, how often and where."""
    said, runs = [], 0
    for setting in findings.settings:
        where = f" at {setting.label}" if setting.label else ""
        for variant in setting.variants:
            runs += variant.finished
            if lost := sum(variant.diverged):
                said.append(f"{lost} of {count(variant.finished, 'run')} with `{variant.label}`{where}")
    if not runs:
        return ""
    return f"Diverged: {listed(said)}; no other" if said else f"None of {count(runs, 'run')} diverged"


def best_settings(findings: Findings) -> str:
    """Each variant's best setting by its mean over the runs that did not diverge; empty for a single setting."""
    study, settings = findings.study, findings.settings
    if len(settings) < 2:
        return ""
    places = decimals(study.smallest_effect)
    said = []
    for index, first in enumerate(settings[0].variants):
        best = best_setting(findings, index)
        if best is not None:
            said.append(f"`{first.label}` {fixed(best.variants[index].mean.mean, places)} at {best.label}")
    return f"Each at its best: {listed(said)}" if said else ""


def best_setting(findings: Findings, index: int) -> SettingFindings | None:
    """The setting with the best mean of a variant; one in which runs diverged only where all settings have such."""
    sign = 1 if findings.study.metric.lower_is_better is not False else -1
    found = [
        (sum(setting.variants[index].diverged) > 0, sign * mean, place)
        for place, setting in enumerate(findings.settings)
        if math.isfinite(mean := setting.variants[index].mean.mean)
    ]
    return findings.settings[min(found)[2]] if found else None


def sensitivity(findings: Findings) -> str:
    """How much is lost on average at a rate that is not the best one, see `gpt.analysis.rate_sensitivity`."""
    found = findings.rate_sensitivity
    if not found:
        return ""
    places = max(0, decimals(findings.study.smallest_effect) - 1)
    said = [
        f"{fixed(variant.mean.mean, places)} with `{variant.label}`"
        for variant in found.variants
        if math.isfinite(variant.mean.mean)
    ]
    rates = count(len(found.values), "rate")
    return f"Averaged over the {rates}, the loss lies above that at the best of them by {listed(said)}" if said else ""
