"""How sure a study's verdicts are, in sentences: looks, equal claims, skewed differences, the noise floor."""

import math
from collections.abc import Iterator

from gpt.analysis.contrast_findings import ContrastFindings, LookFindings
from gpt.analysis.findings import Findings
from gpt.analysis.statistics.contrasts import ALPHA
from gpt.records.formatting import count, fixed, listed, p_text


def precision_notes(findings: Findings) -> list[str]:
    """One line each."""
    return [*_looks(findings), *_equal(findings), *_skewed(findings), *_noise_floor(findings)]


def interval_note(name: str, contrasts: int) -> str:
    """What the simultaneous intervals are, and how they go with the corrected p."""
    if contrasts == 1:
        return f"**{name}**: excludes 0 exactly where the contrast is different. A dash: too few pairs, or ranks."
    return (
        f"**{name}**: sign-flip intervals at a level of 5 % shared out over {contrasts} contrasts, which cover all "
        f"differences together. One excludes 0 exactly where {contrasts} times the contrast's own p is at most "
        f"{ALPHA:g}; Holm's method finds these different and may find more. A dash: too few pairs, or ranks decide."
    )


def look_words(findings: Findings) -> str:
    """`Look 2 of 3, at 10 pairs, ended the study`; empty of one without looks."""
    looks, made = findings.looks, [look for look in findings.looks if look.verdicts]
    if not looks:
        return ""
    if not made:
        return f"No look of {len(looks)} was made yet, the first is at {looks[0].pairs} pairs"
    place = f"Look {len(made)} of {len(looks)}, at {made[-1].pairs} pairs,"
    if all(verdict != "inconclusive" for verdict in made[-1].verdicts):
        return f"{place} ended the study: every contrast has a verdict"
    open_ = sum(verdict == "inconclusive" for verdict in made[-1].verdicts)
    left = f"{place} left {count(open_, 'contrast')} without a verdict"
    return f"{left}; it was the last" if len(made) == len(looks) else left


def _looks(findings: Findings) -> Iterator[str]:
    if not findings.looks:
        return
    yield (
        f"**looks**: {look_words(findings)}. A contrast is different at p {listed(list(map(_bound, findings.looks)))}, "
        f"as the first and as the last of {count(findings.family or 1, 'contrast')} by Holm's method: alpha spending "
        f"of the O'Brien-Fleming type (Kim and DeMets 1987, the cube of the share of pairs), so that all looks "
        f"together find a difference that is none with at most {100 * ALPHA:g} %. Corrected p and simultaneous "
        f"intervals count them in; plain intervals and d_z do not, and the size of a difference that ended a study "
        f"early tends to be too large."
    )


def _bound(look: LookFindings) -> str:
    return f"at most {look.bound_first:.2g} and {look.bound_last:.2g} at {look.pairs} pairs"


def _equal(findings: Findings) -> Iterator[str]:
    found = [each.equivalence for each in findings.contrasts if each.equivalence]
    if not found:
        return
    yield (
        f"**equal claims**: a contrast is equivalent where both one-sided tests, corrected by Holm's method over "
        f"{count(len(found), 'contrast')}, give p at most {ALPHA:g}, from {found[0].fewest_pairs} pairs on, as many "
        f"as a difference takes. So of all claims of a difference any is false with at most {100 * ALPHA:g} %, and of "
        f"all claims of equality too. One contrast alone is equivalent exactly where its 90 % interval lies within "
        f"the smallest difference that matters."
    )


def _skewed(findings: Findings) -> Iterator[str]:
    for each in findings.contrasts:
        if each.shape and each.shape.skewed and not each.among_survivors:
            yield (
                f"**skewed**: the differences of `{each.b}` from `{each.a}`{each.at} are skewed "
                f"({each.shape.skewness:+.2f}; {100 * each.shape.p_normal:.1f} % of normal samples are as much). Sign "
                f"flips test symmetry and t intervals assume a normal shape: where skewed differences have a mean of "
                f"0, both find one too often. Hall's transformed t test, which allows for skewness, has p "
                f"{p_text(each.shape.p_hall)} (not corrected){_against(each)}."
            )


def _against(contrast: ContrastFindings) -> str:
    """Whether the robust test and the verdict agree."""
    assert contrast.shape
    clear = contrast.shape.p_hall <= ALPHA / max(1, contrast.family)
    if contrast.verdict.startswith("different") and not clear:
        return ": the difference should be taken with care"
    return ""


def _noise_floor(findings: Findings) -> Iterator[str]:
    for setting in findings.settings:
        floor = setting.noise_floor
        if floor and math.isfinite(floor.sd):
            places, pair = findings.study.places, 2 * math.sqrt(2) * floor.sd
            yield (
                f"**noise floor**{setting.at}: runs that differ in nothing but the seed lie apart with a standard "
                f"deviation of {fixed(floor.sd, places)} {findings.study.metric.unit} (95 % interval "
                f"{fixed(floor.low, places)} to {fixed(floor.high, places)}, pooled over variants, {floor.df} degrees "
                f"of freedom). A difference of two single runs with unlike seeds below {fixed(pair, places)} says "
                f"nothing."
            )
