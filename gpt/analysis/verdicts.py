"""Every contrast of a study and what it allows to say; look by look where the study has looks."""

from collections.abc import Iterator

from gpt.analysis.collect import Results, SettingResults
from gpt.analysis.contrast_findings import LookFindings
from gpt.analysis.statistics.contrasts import ALPHA, Contrast, CorrectedContrast, compare, correct
from gpt.analysis.statistics.sequential import bounds


def contrasts(results: Results, setting: SettingResults) -> list[Contrast]:
    """Every variant against the first; none where the answer is no difference between variants."""
    first, *others = setting.groups if results.study.kind == "contrasts" else setting.groups[:1]
    found = []
    for other in others:
        score = results.failed_score(setting)
        pairs = [
            (seed, a.value(results.metric), b.value(results.metric), a.failed, b.failed)
            for seed, a, b in zip(results.study.seeds, first.runs, other.runs, strict=True)
            if a.finished and b.finished
        ]
        effect, planned = results.study.smallest_effect, len(results.study.seeds)
        found.append(compare(first.label, other.label, setting.label, results.metric, effect, planned, pairs, score))
    return found


def corrected_contrasts(results: Results) -> list[CorrectedContrast]:
    """All contrasts of a study, setting by setting, corrected for their number and for the looks so far."""
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
    return [contrast for setting in results.settings for contrast in contrasts(results, setting)]


def _finished_looks(results: Results) -> list[int]:
    """Pairs at each look all of whose runs are finished."""
    return [pairs for pairs in results.study.looks if pairs <= _finished_seeds(results)]


def _finished_seeds(results: Results) -> int:
    """How many of the first seeds are finished in every variant and setting."""
    groups = [group.runs for setting in results.settings for group in setting.groups]
    whole: Iterator[bool] = (all(run.finished for run in runs) for runs in zip(*groups, strict=True))
    return next((i for i, finished in enumerate(whole) if not finished), len(results.study.seeds))
