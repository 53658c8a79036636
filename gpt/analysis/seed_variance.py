"""What a study of seeds found: initialisation seeds crossed with order seeds, the spread between runs taken apart.

Letters of shapes: S initialisation seed, O order seed.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.collect import Results, RunReader, SettingResults
from gpt.analysis.findings import (
    Pairs,
    SecondarySpread,
    SettingFindings,
    Source,
    SpreadDuringTraining,
    SpreadFindings,
)
from gpt.analysis.secondary import SECONDARY
from gpt.analysis.statistics.contrasts import ALPHA
from gpt.analysis.statistics.variance import (
    Component,
    Components,
    Shared,
    component_sds,
    pairs_needed,
    variance_components,
)
from gpt.records.formatting import count, decimals, fixed, metric_words, p_text
from gpt.records.schema import VAL_LOSS

Floats = NDArray[np.float64]

SOURCES: tuple[Source, ...] = ("init", "order", "rest")
SHARED: tuple[Shared, ...] = ("nothing", "init", "order", "both")
ENDS: tuple[Shared, ...] = ("both", "nothing")


def decompose(results: Results, setting: SettingResults) -> SpreadFindings:
    """One setting's runs taken apart.

    With a run missing or diverged there is no `split`: a spread over those that did not diverge would leave out the
    worst, and a seed that lost one would be corrected by other company than the rest.
    """
    runs = [run for group in setting.groups for run in group.runs]
    words = source_words(results, setting)
    finished, diverged = sum(run.finished for run in runs), sum(run.diverged for run in runs)
    if finished < len(runs) or diverged:
        why = _at(setting) + _not_whole(setting, len(runs), finished, diverged)
        return SpreadFindings(
            words=words, planned=len(runs), finished=finished, diverged=diverged, pairs={}, secondary={},
            verdict="not taken apart", sentences=[why],
        )  # fmt: skip
    split = variance_components([[run.value(results.metric) for run in row] for row in _rows(setting)])
    effect = results.study.smallest_effect
    pairs = {
        shared: Pairs(**{end: pairs_needed(sd, effect) for end, sd in asdict(spread).items()})
        for shared, spread in split.differences.items()
    }
    return SpreadFindings(
        words=words,
        planned=len(runs),
        finished=finished,
        diverged=diverged,
        split=split,
        pairs=pairs,
        secondary=_secondary(setting),
        during_training=_during_training(setting),
        verdict=_verdict(split),
        sentences=[_at(setting) + _where_from(results, split, words, len(runs)), _sharing(results, split, pairs)],
    )


def source_words(results: Results, setting: SettingResults) -> dict[Source, str]:
    """What each source is called: with dropout, the seed of the initial weights draws that too."""
    dropout = dict(setting.setting).get("model.dropout", results.study.base.model.dropout)
    return {
        "init": "initial weights and dropout" if dropout else "initial weights",
        "order": "order of the batches",
        "rest": "the rest",
    }


def _rows(setting: SettingResults) -> list[tuple[RunReader, ...]]:
    """Runs of each initialisation seed, over the order seeds."""
    return list(zip(*(group.runs for group in setting.groups), strict=True))


def _secondary(setting: SettingResults) -> dict[str, SecondarySpread]:
    """The secondary scalars, taken apart without intervals; those that a run lacks are left out."""
    found = {}
    for name, (unit, description) in SECONDARY.items():
        values_SO = np.array([[run.secondary[name] for run in row] for row in _rows(setting)])
        if np.isfinite(values_SO).all():
            sds = dict(zip(SOURCES, component_sds(values_SO), strict=True))
            found[name] = SecondarySpread(unit, description, float(values_SO.mean()), sds)
    return found


def _during_training(setting: SettingResults) -> SpreadDuringTraining:
    """Standard deviations of the validation loss at every evaluation that all runs have."""
    rows = _rows(setting)
    curves = [[dict(zip(*map(np.ndarray.tolist, run.curve(VAL_LOSS)), strict=True)) for run in row] for row in rows]
    steps = [step for step in curves[0][0] if all(math.isfinite(c.get(step, math.nan)) for row in curves for c in row)]
    sds = [component_sds(np.array([[curve[step] for curve in row] for row in curves])) for step in steps]
    return SpreadDuringTraining(steps, *([sd[i] for sd in sds] for i in range(len(SOURCES))))


def _verdict(split: Components) -> str:
    """Which of the two seeds' effects is told from chance; two tests, not corrected."""
    told = [component.p <= ALPHA for component in (split.init, split.order)]
    if all(told):
        return "both seeds matter"
    if any(told):
        return f"{'the initial weights' if told[0] else 'the order'} alone told from chance"
    return "neither seed alone told from chance"


def _at(setting: SettingResults) -> str:
    return f"At {setting.label}: " if setting.label else ""


def _not_whole(setting: SettingResults, runs: int, finished: int, diverged: int) -> str:
    planned = count(runs, "run")
    if not diverged:
        return f"{finished} of {planned} have finished; the spread is taken apart when all have."
    rows = _rows(setting)
    lost_seeds = sum(any(run.diverged for run in row) for row in rows)
    lost_orders = sum(any(run.diverged for run in group.runs) for group in setting.groups)
    return (
        f"{diverged} of {planned} diverged, with {lost_seeds} of {count(len(rows), 'initialisation seed')} "
        f"and {lost_orders} of {count(len(setting.groups), 'order seed')}. A spread of the others would leave out the "
        f"worst runs, so none is given."
    )


def _where_from(results: Results, split: Components, words: dict[Source, str], runs: int) -> str:
    metric, places = results.metric, decimals(results.study.smallest_effect)
    name, unit = metric_words(metric), metric.scalar.unit
    if split.run.sd == 0:
        return f"The {name} does not vary: all {runs} runs have {fixed(split.mean, places)} {unit}."
    init, order = (
        f"from {the}{name} ({_interval(component)}, F test p {p_text(component.p)})"
        for component, name, the in ((split.init, words["init"], ""), (split.order, words["order"], "the "))
    )
    spread = split.run
    return (
        f"{_share(split.init)} of the variance of the {name} between runs comes {init}, {_share(split.order)} {order} "
        f"and {_share(split.rest)} from the rest, which belongs to a pair of seeds and to neither alone "
        f"({_interval(split.rest)}). One run lies about the mean of "
        f"{fixed(split.mean, places)} with a standard deviation of {fixed(spread.sd, places)} {unit} (95 % interval "
        f"{fixed(spread.low, places)} to {fixed(spread.high, places)}); none of the {runs} runs diverged."
    )


def _sharing(results: Results, split: Components, pairs: dict[Shared, Pairs]) -> str:
    """What pairing by seed can be worth to a comparison of two variants."""
    places, effect = decimals(results.study.smallest_effect), f"{results.study.smallest_effect:g}"
    unit = results.metric.scalar.unit
    sds = {shared: fixed(split.differences[shared].sd, places) for shared in SHARED}
    if split.run.sd == 0:
        return "With no spread there is nothing that sharing seeds could take away."
    saved = 1 - split.differences["both"].sd / split.differences["nothing"].sd
    fewer, more = (pairs_text(pairs[shared].sd) for shared in ENDS)
    told = sum(component.p <= ALPHA for component in (split.init, split.order))
    doubt = ["; but neither seed's effect is told from chance here", "; but only one seed's effect is told from chance"]
    return (
        f"Two runs of variants that share no seed differ by chance with a standard deviation of {sds['nothing']} "
        f"{unit}; where a seed does the same to both, sharing the initial weights brings that to {sds['init']}, the "
        f"order to {sds['order']} and both to {sds['both']}, which is {100 * saved:.0f} % less: to find a difference "
        f"of {effect} with a power of 80 % then takes {fewer} instead of {more}{[*doubt, ''][told]}. Where a seed does "
        f"something else in each variant, sharing it changes nothing."
    )


def pairs_text(pairs: int | None) -> str:
    return "more than 10,000 pairs" if pairs is None else count(pairs, "pair")


def _share(component: Component) -> str:
    return f"{100 * component.share:.0f} %"


def _interval(component: Component) -> str:
    return f"95 % interval {100 * component.share_low:.0f} to {100 * component.share_high:.0f} %"


def setting_sentences(setting: SettingFindings) -> Sequence[str]:
    """The answers of a setting of the findings, whichever kind its study is."""
    contrasts = [contrast.sentence for contrast in setting.contrasts]
    return [*contrasts, *(setting.components.sentences if setting.components else [])]
