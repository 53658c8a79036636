"""From the runs of a study to its findings: the same runs give the same findings, whenever and wherever they were made.

Nothing in here is a time, a place or the order in which runs were trained.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from gpt.analysis.collect import Group, Results, SettingResults
from gpt.analysis.contrast_findings import ContrastFindings
from gpt.analysis.control import control
from gpt.analysis.findings import (
    DataFindings,
    EffectFindings,
    Findings,
    MetricFindings,
    RunCounts,
    SettingFindings,
    StudyFindings,
)
from gpt.analysis.mean_difference import MeanDifference
from gpt.analysis.noise_scale import noise_scale
from gpt.analysis.provenance import layouts_of, stack_of
from gpt.analysis.rate_sensitivity import rate_sensitivity
from gpt.analysis.run_reader import RunReader
from gpt.analysis.secondary import OF_CONTEXT, OF_ROWS, secondary_entries
from gpt.analysis.seed_variance import decompose
from gpt.analysis.statistics.contrasts import CorrectedContrast
from gpt.analysis.statistics.means import mean_interval
from gpt.analysis.statistics.noise_floor import noise_floor
from gpt.analysis.statistics.planning import planning
from gpt.analysis.summaries import summaries
from gpt.analysis.treatment import treatment
from gpt.analysis.tuned import tuning_findings
from gpt.analysis.tuning_findings import TuneFindings
from gpt.analysis.variant_findings import Secondary, VariantFindings
from gpt.analysis.verdicts import corrected_contrasts, looks_of
from gpt.analysis.windows import interval_over_text
from gpt.config import SOURCES
from gpt.fields import canonical, flatten
from gpt.records.catalogue import Array, Entry
from gpt.study.effects import effects_of, pairs_of
from gpt.study.spec import Scalar, Study


def build_findings(results: Results) -> Findings:
    """Everything that the runs' records say of a study, finished or not."""
    runs = [run for _, _, _, run in results.places()]
    finished = [run for run in runs if run.finished]
    states = Counter(run.status.state for run in runs)
    trials = [run for _, _, _, run in results.trials.places() if run.finished] if results.trials else []
    stack, stack_differences = stack_of([*finished, *trials])
    corrected = iter(corrected_contrasts(results))
    entries = _entries(finished)
    settings = [_setting(results, setting, corrected, list(entries)) for setting in results.settings]
    effects = _effects(results.study, corrected)
    compared = [contrast for setting in settings for contrast in setting.contrasts] + [of.contrast for of in effects]
    return Findings(
        study=_study(results),
        runs=RunCounts(len(runs), len(finished), dict(sorted(states.items()))),
        family=max((each.family for each in compared), default=0),
        control=control(results),
        secondary=list(entries.values()),
        arrays=_arrays(finished),
        settings=settings,
        rate_sensitivity=rate_sensitivity(results),
        data=_data([*finished, *trials], results.data_sha256),
        stack=stack,
        stack_differences=stack_differences,
        layouts=layouts_of([*finished, *trials]),
        hardware=_distinct([run.info["hardware"] for run in (*finished, *trials)]),
        looks=looks_of(results),
        effects=effects,
        tuning=tuning_findings(results),
    )


def shown_config(study: Study) -> dict[str, Scalar]:
    """The base run by dotted names; of text files only their names, for their folder is nobody's business."""
    fields = flatten(study.base)
    return {**fields, **{key: Path(fields[key]).name for key in SOURCES if fields[key] is not None}}


def _study(results: Results) -> StudyFindings:
    study, metric = results.study, results.metric
    return StudyFindings(
        name=study.name,
        question=study.question,
        factor=study.factor,
        variants=list(study.variants),
        settings={key: list(values) for key, values in study.settings.items()},
        seeds=list(study.seeds),
        metric=MetricFindings(
            name=study.metric,
            title=metric.title,
            unit=metric.scalar.unit,
            meaning=metric.scalar.meaning,
            lower_is_better=metric.scalar.lower_is_better,
        ),
        smallest_effect=study.smallest_effect,
        base=shown_config(study),
        looks=list(study.looks),
        planned_seeds=list(results.planned_seeds) if study.looks else [],
        factors=list(study.factors),
        recipes=study.recipes,
        chosen_contrasts=[[list(s) if isinstance(s, tuple) else s for s in pair] for pair in study.contrasts],
        tune=_tune(study),
    )


def _tune(study: Study) -> TuneFindings | None:
    if study.tune is None:
        return None
    grid = {field: list(values) for field, values in study.tune.grid.items()}
    return TuneFindings(grid, list(study.tune.seeds), study.tune.extend)


def _setting(
    results: Results, setting: SettingResults, corrected: Iterator[CorrectedContrast], names: Sequence[str]
) -> SettingFindings:
    components = results.study.kind == "components"
    compared = [(setting.groups[a], setting.groups[b]) for a, b in pairs_of(results.study)]
    return SettingFindings(
        label=setting.label,
        setting=dict(setting.setting),
        variants=[_variant(results, setting, group, names) for group in setting.groups],
        contrasts=[_contrast(results, a, b, next(corrected), names) for a, b in compared],
        components=decompose(results, setting, names) if components else None,
        treatment=treatment(setting, results.study.factor),
        noise_floor=None if components else noise_floor([_survived(results, group) for group in setting.groups]),
    )


def _contrast(
    results: Results, a: Group, b: Group, corrected: CorrectedContrast, names: Sequence[str]
) -> ContrastFindings:
    found = _corrected(corrected)
    return replace(
        found, secondary=_secondary_differences(a, b, names), over_text=interval_over_text(results.metric, a, b)
    )


def _effects(study: Study, corrected: Iterator[CorrectedContrast]) -> list[EffectFindings]:
    return [
        EffectFindings(
            kind=effect.kind,
            factors=list(effect.factors),
            averaged=list(effect.averaged),
            contrast=_corrected(next(corrected)),
        )
        for effect in effects_of(study)
    ]


def _corrected(corrected: CorrectedContrast) -> ContrastFindings:
    contrast = corrected.contrast
    return ContrastFindings(
        **{field.name: getattr(contrast, field.name) for field in fields(contrast)},
        p_adjusted=corrected.p_adjusted,
        family=corrected.family,
        verdict=corrected.verdict,
        secondary={},
        simultaneous=corrected.simultaneous,
        equivalence=corrected.equivalence,
        shape=corrected.shape,
        planning=planning(contrast.paired, contrast.smallest_effect, corrected.family),
    )


def _variant(results: Results, setting: SettingResults, group: Group, names: Sequence[str]) -> VariantFindings:
    whole = [run for run in group.runs if run.finished]
    scores = results.scores(setting, group)
    return VariantFindings(
        label=group.label,
        value=group.variant,
        runs=[run.fingerprint for run in group.runs],
        states=[run.status.state for run in group.runs],
        outcomes=[run.ending.outcome if run.ending else None for run in group.runs],
        begun=[run.begun for run in group.runs],
        values=[run.value(results.metric) for run in group.runs],
        scores=scores,
        failed=[run.failed for run in group.runs],
        why=[run.ending.why if run.ending and run.failed else "" for run in group.runs],
        mean=mean_interval([score for run, score in zip(group.runs, scores, strict=True) if run.finished]),
        parameters=whole[0].info["parameters"] if whole else None,
        training_flops_per_token=whole[0].info["training_flops_per_token"] if whole else None,
        secondary={name: _secondary(group, name) for name in names},
        noise_scale=noise_scale(group),
        tuned=dict(group.tuned),
        **summaries(group),
    )


def _survived(results: Results, group: Group) -> list[float]:
    """The metric of every finished run; NaN of one that failed."""
    return [math.nan if run.failed else run.value(results.metric) for run in group.runs if run.finished]


def _secondary(group: Group, name: str) -> Secondary:
    """A secondary scalar of every seed, and its mean over the runs that did not fail."""
    values = [run.secondary.get(name, math.nan) if run.finished else math.nan for run in group.runs]
    survived = [v for run, v in zip(group.runs, values, strict=True) if run in group.survivors]
    return Secondary(values, mean_interval(survived))


def _secondary_differences(a: Group, b: Group, names: Sequence[str]) -> dict[str, MeanDifference]:
    """Paired differences of the secondary scalars over the seeds that survived in both variants; not corrected."""
    pairs = [(x, y) for x, y in zip(a.runs, b.runs, strict=True) if x in a.survivors and y in b.survivors]
    firsts, others = [x for x, _ in pairs], [y for _, y in pairs]
    found = {}
    for name in names:
        of_a, of_b = ([run.secondary.get(name, math.nan) for run in runs] for runs in (firsts, others))
        found[name] = MeanDifference.of(of_a, of_b)
    return found


def _entries(finished: Sequence[RunReader]) -> dict[str, Entry]:
    """Every secondary scalar that a run has; before any has finished, those that all runs have."""
    found = {entry.name: entry for entry in (*OF_ROWS, *OF_CONTEXT)} if not finished else {}
    for run in finished:
        found = {**secondary_entries(run), **found}
    return found


def _arrays(finished: Sequence[RunReader]) -> list[Array]:
    """Every array that runs describe; the neutral level may differ between them and stands with each variant."""
    found = {name: replace(array, neutral=None) for run in finished for name, array in run.arrays.items()}
    return list(found.values())


def _data(finished: Sequence[RunReader], data_sha256: str) -> DataFindings:
    return DataFindings(**{"sha256": data_sha256, **(finished[0].info["data"] if finished else {})})


def _distinct(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    distinct = {canonical(item): dict(item) for item in items}
    return [distinct[key] for key in sorted(distinct)]
