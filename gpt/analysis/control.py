"""Whether nothing but the factor differed, from what the runs wrote down themselves, none of it from the plan."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpt.analysis.collect import Group, Results, SettingResults
from gpt.analysis.proof_findings import Control
from gpt.analysis.run_reader import RunReader
from gpt.fields import canonical, flatten
from gpt.fingerprint import WITHOUT_EFFECT, as_recorded
from gpt.study.spec import ORDER_SEED, Study


def control(results: Results) -> Control:
    """Which fields of the runs' own configurations differ, and whether they are exactly those that should.

    `holds` is None as long as no seed has finished in two variants of a setting.
    """
    study = results.study
    runs = [(setting, group, seed, run) for setting, group, seed, run in results.places() if run.finished]
    configs = {run.fingerprint: _recorded(results, setting, group, run) for setting, group, _, run in runs}
    between: set[str] = set()
    compared = 0
    for setting in results.settings:
        for i in range(len(study.seeds)):
            pair = [configs[g.runs[i].fingerprint] for g in setting.groups if g.runs[i].finished]
            between |= differing(pair)
            compared += len(pair) >= 2
    as_planned = all(
        configs[run.fingerprint].get(key) == value
        for setting, group, seed, run in runs
        for key, value in study.resolved(
            {study.factor: group.variant, "seed": seed, **dict(setting.setting), **dict(group.tuned)}
        ).items()
    )
    tuned = set(results.tuning.grid if results.tuning else ())
    between -= tuned  # each variant has its own best, as planned
    elsewhere = differing(list(configs.values())) - between - {"seed", *tuned, *_fields(study, study.settings)}
    hashes = sorted({run.info["data"]["sha256"] for _, _, _, run in runs})
    effective = sorted((between | elsewhere) - WITHOUT_EFFECT)
    values = [study.resolved({study.factor: variant}) for variant in study.variants]
    expected = sorted(differing(values))
    holds = bool(effective) and {*effective} <= {*expected} and as_planned and hashes == [results.data_sha256]
    return Control(
        holds=holds if compared else None,
        expected=expected,
        differing_fields=effective,
        differing_fields_without_effect=sorted((between | elsewhere) & WITHOUT_EFFECT),
        runs_as_planned=as_planned,
        runs_compared=len(runs),
        data_sha256=hashes,
    )


def _recorded(results: Results, setting: SettingResults, group: Group, run: RunReader) -> dict[str, Any]:
    """A run's configuration; another study may have made it that says, or leaves unsaid, that its order is its own."""
    fields = flatten(as_recorded(run.info["config"]))
    study = results.study
    fields_of_run = study.resolved({**dict(setting.setting), study.factor: group.variant})
    planned = fields_of_run.get(ORDER_SEED, study.base.data.order_seed)
    own, recorded = fields["seed"], fields.get(ORDER_SEED)
    same = (own if planned is None else planned) == (own if recorded is None else recorded)
    return fields | {ORDER_SEED: planned if same else recorded}


def _fields(study: Study, names: Iterable[str]) -> set[str]:
    """The fields of a run that settings of these names set."""
    return {field for name in names for field in study.resolved({name: study.settings[name][0]})}


def differing(mappings: Sequence[Mapping[str, Any]]) -> set[str]:
    """Keys that are not in all of the mappings with the same value."""
    keys = {key for mapping in mappings for key in mapping}
    return {key for key in keys if len({canonical(m.get(key, "missing")) for m in mappings}) > 1}
