"""Every contrast of a study and what it allows to say; look by look where the study has looks."""

import math
from collections.abc import Iterator
from dataclasses import replace

from gpt.analysis.collect import Results, SettingResults
from gpt.analysis.contrast_findings import LookFindings
from gpt.analysis.statistics.contrasts import ALPHA, Contrast, CorrectedContrast, compare, correct
from gpt.analysis.statistics.paired import paired_contrast
from gpt.analysis.statistics.sequential import bounds
from gpt.study.effects import effects_of, pairs_of
from gpt.study.plan import fields_text


def contrasts(results: Results, setting: SettingResults) -> list[Contrast]:
    """Every variant against the first, or those that the study chooses; none where the answer is no difference."""
    found = []
    score = results.failed_score(setting)
    for number, of in pairs_of(results.study):
        first, other = setting.groups[number], setting.groups[of]
        pairs = [
            (seed, a.value(results.metric), b.value(results.metric), a.failed, b.failed)
            for seed, a, b in zip(results.study.seeds, first.runs, other.runs, strict=True)
            if a.finished and b.finished
        ]
        effect, planned = results.study.smallest_effect, len(results.study.seeds)
        found.append(compare(first.label, other.label, setting.label, results.metric, effect, planned, pairs, score))
    return found


def effects(results: Results) -> list[Contrast]:
    """Main effects, interactions and chosen pairs of cells: in each seed a difference of sums over arms, in which a
    failed run has its score. Where the metric gives none, a side with a failed run ranks as the worst.
    """
    groups = {(group.variant, each.setting): group for each in results.settings for group in each.groups}
    scores = {(g.variant, each.setting): results.scores(each, g) for each in results.settings for g in each.groups}
    found = []
    for effect in effects_of(results.study):
        pairs = []
        for i, seed in enumerate(results.study.seeds):
            sides = [[groups[arm].runs[i] for arm in arms] for arms in (effect.minus, effect.plus)]
            if all(run.finished for side in sides for run in side):
                a, b = (math.fsum(scores[arm][i] for arm in arms) / effect.over for arms in (effect.minus, effect.plus))
                failed_a, failed_b = (any(run.failed for run in side) for side in sides)
                pairs.append((seed, a, b, failed_a, failed_b))
        varied = {key: value for key, value in effect.setting if key in results.study.varied}
        smallest, planned = results.study.smallest_effect, len(results.study.seeds)
        score = max(map(results.failed_score, results.settings), key=lambda each: (math.isfinite(each), each))
        contrast = compare(effect.a, effect.b, fields_text(varied), results.metric, smallest, planned, pairs, score)
        summed = paired_contrast([pair[1] for pair in pairs], [pair[2] for pair in pairs], smallest)
        found.append(replace(contrast, paired=summed))  # of the sums, in which single runs have their scores
    return found


def corrected_contrasts(results: Results) -> list[CorrectedContrast]:
    """All contrasts of a study, setting by setting, then the effects of several factors; corrected for their number and
    for the looks so far.
    """
    made = [_all(results.first_seeds(pairs)) for pairs in _finished_looks(results)]
    return correct(_all(results), results.study.looks, made)


def looks_of(results: Results) -> list[LookFindings]:
    """Every look that the study plans, and what came of those that were made."""
    planned = results.study.looks
    if not planned:
        return []
    family = len(_all(results))
    first, last = bounds(planned, ALPHA / family), bounds(planned, ALPHA)
    made = _finished_looks(results)
    verdicts = [[each.verdict for each in corrected_contrasts(results.first_seeds(pairs))] for pairs in made]
    verdicts += [[]] * (len(planned) - len(made))
    return [LookFindings(*each) for each in zip(planned, first, last, verdicts, strict=True)]


def settled(results: Results) -> bool:
    """Whether every contrast has reached a verdict, so that no further look is made."""
    return all(each.verdict != "inconclusive" for each in corrected_contrasts(results))


def needed(results: Results) -> Results:
    """The runs up to the look that ended the study, or, as long as none has, up to the first that is not finished."""
    for pairs in results.study.looks:
        so_far = results.first_seeds(pairs)
        if pairs not in _finished_looks(so_far) or settled(so_far):
            return so_far
    return results


def look_text(results: Results) -> str:
    """`look 2 of 3 (10 of 20 pairs) ended it`; empty of a study without looks.

    Args:
        results: as far as they are `needed`.
    """
    looks, pairs = results.study.looks, len(results.study.seeds)
    if not looks:
        return ""
    place = f"look {looks.index(pairs) + 1} of {len(looks)} ({pairs} of {looks[-1]} pairs)"
    if pairs not in _finished_looks(results):
        return f"on the way to {place}"
    return f"{place} ended it" if settled(results) else f"{place} was the last; not every contrast has a verdict"


def _all(results: Results) -> list[Contrast]:
    return [contrast for setting in results.settings for contrast in contrasts(results, setting)] + effects(results)


def _finished_looks(results: Results) -> list[int]:
    """Pairs at each look all of whose runs are finished."""
    return [pairs for pairs in results.study.looks if pairs <= _finished_seeds(results)]


def _finished_seeds(results: Results) -> int:
    """How many of the first seeds are finished in every variant and setting."""
    groups = [group.runs for setting in results.settings for group in setting.groups]
    whole: Iterator[bool] = (all(run.finished for run in runs) for runs in zip(*groups, strict=True))
    return next((i for i, finished in enumerate(whole) if not finished), len(results.study.seeds))
