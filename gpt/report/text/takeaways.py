"""What a study comes to, in one or two sentences made from its findings."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gpt.analysis.seed_variance import setting_sentences
from gpt.analysis.statistics.contrasts import Contrast, CorrectedContrast
from gpt.records.formatting import count, decimals, fixed, interval, listed, number, signed
from gpt.records.run_folder import FINISHED


def takeaway(findings: Mapping[str, Any], corrected: Sequence[CorrectedContrast]) -> str:
    """Where the verdict is which and by how much, what diverged, each variant's best setting; or which spread is whose.

    Args:
        corrected: the study's contrasts, corrected together with those of other studies.
    """
    if corrected or not any("components" in setting for setting in findings["settings"]):
        return _of_contrasts(findings, corrected)
    return " ".join(sentence for setting in findings["settings"] for sentence in setting_sentences(setting)[:1])


def _of_contrasts(findings: Mapping[str, Any], corrected: Sequence[CorrectedContrast]) -> str:
    labels = list(dict.fromkeys(each.contrast.b for each in corrected))
    said = [_of_variant([each for each in corrected if each.contrast.b == label]) for label in labels]
    parts = [*said, divergences(findings), best_settings(findings), sensitivity(findings)]
    return " ".join(f"{part}." for part in parts if part)


def _of_variant(corrected: Sequence[CorrectedContrast]) -> str:
    """`post` against `pre`: **different** at optim.lr = 0.001 (+0.07 [..]) and ...; **inconclusive** at ..."""
    contrast = corrected[0].contrast
    verdicts: dict[str, list[Contrast]] = {}
    for each in corrected:
        verdicts.setdefault(each.verdict if each.contrast.seeds else "no pair yet", []).append(each.contrast)
    parts = [
        f"**{verdict}**{_where(contrasts)}" if contrasts[0].setting else f"**{verdict}**, {_size(contrasts[0])}"
        for verdict, contrasts in verdicts.items()
    ]
    return f"`{contrast.b}` against `{contrast.a}`: {'; '.join(parts)}"


def _where(contrasts: Sequence[Contrast]) -> str:
    return f" at {listed([f'{contrast.setting} ({_size(contrast)})' for contrast in contrasts])}"


def _size(contrast: Contrast) -> str:
    paired, places = contrast.paired, decimals(contrast.smallest_effect)
    if not paired.n:
        return "no pair survived" if contrast.seeds else "no pair"
    alone = f", {count(paired.n, 'surviving pair')} alone" if contrast.among_survivors else ""
    size = f"{signed(paired.mean_difference, places)} {interval(paired.low, paired.high, places)}"
    return size.removesuffix(" -") + alone


def divergences(findings: Mapping[str, Any]) -> str:
    """Which variants diverged, how often and where."""
    said, runs = [], 0
    for setting in findings["settings"]:
        where = f" at {setting['label']}" if setting["label"] else ""
        for variant in setting["variants"]:
            finished = sum(state in FINISHED for state in variant["states"])
            runs += finished
            if lost := sum(variant["diverged"]):
                said.append(f"{lost} of {count(finished, 'run')} with `{variant['label']}`{where}")
    if not runs:
        return ""
    return f"Diverged: {listed(said)}; no other" if said else f"None of {count(runs, 'run')} diverged"


def best_settings(findings: Mapping[str, Any]) -> str:
    """Each variant's best setting by its mean over the runs that did not diverge; empty for a single setting."""
    study, settings = findings["study"], findings["settings"]
    if len(settings) < 2:
        return ""
    places = decimals(study["smallest_effect"])
    said = []
    for index, first in enumerate(settings[0]["variants"]):
        best = best_setting(findings, index)
        if best is not None:
            mean = number(best["variants"][index]["mean"]["mean"])
            said.append(f"`{first['label']}` {fixed(mean, places)} at {best['label']}")
    return f"Each at its best: {listed(said)}" if said else ""


def best_setting(findings: Mapping[str, Any], index: int) -> Mapping[str, Any] | None:
    """The setting with the best mean of a variant; one in which runs diverged only where all settings have such."""
    sign = 1 if findings["study"]["metric"]["lower_is_better"] is not False else -1
    found = [
        (sum(setting["variants"][index]["diverged"]) > 0, sign * mean, place)
        for place, setting in enumerate(findings["settings"])
        if math.isfinite(mean := number(setting["variants"][index]["mean"]["mean"]))
    ]
    settings: Sequence[Mapping[str, Any]] = findings["settings"]
    return settings[min(found)[2]] if found else None


def sensitivity(findings: Mapping[str, Any]) -> str:
    """How much is lost on average at a rate that is not the best one, see `gpt.analysis.rate_sensitivity`."""
    found = findings.get("rate_sensitivity")
    if not found:
        return ""
    places = max(0, decimals(findings["study"]["smallest_effect"]) - 1)
    said = [
        f"{fixed(variant['mean']['mean'], places)} with `{variant['label']}`"
        for variant in found["variants"]
        if variant["mean"]["mean"] is not None
    ]
    rates = count(len(found["values"]), "rate")
    return f"Averaged over the {rates}, the loss lies above that at the best of them by {listed(said)}" if said else ""
