"""What the runs of a study recorded, in the study's own order; every planned run is there, whatever became of it."""

import math
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gpt.analysis.run_reader import RunReader
from gpt.analysis.trials import plan_from_records
from gpt.errors import InputError
from gpt.fields import canonical
from gpt.records.catalogue import Array
from gpt.records.formatting import count
from gpt.records.metric import Metric, parse_metric
from gpt.study.folder import RunEntry, StudyFolder, run_at
from gpt.study.plan import Arm, PlannedRun, Setting, fields_text, label, settings_of
from gpt.study.spec import Scalar, Study
from gpt.study.tuning import StudyPlan, Tuning

UNCHOSEN = "not-chosen-yet"
"""in place of the fingerprint of a run whose configuration the study's trials have not decided"""


@dataclass(frozen=True)
class Group:
    """The runs of one variant in one setting."""

    variant: Scalar
    runs: tuple[RunReader, ...]
    """one for each seed, in the study's order"""
    tuned: Setting = ()
    """the variant's own best values of the tuned fields, in this setting"""

    @property
    def label(self) -> str:
        return label(self.variant)

    @property
    def survivors(self) -> list[RunReader]:
        """The runs that are done and did not fail; means are over these."""
        return [run for run in self.runs if run.finished and not run.failed]

    @property
    def shown(self) -> list[RunReader]:
        """The runs that figures show the mean of: the survivors, or all that failed where none survived."""
        return self.survivors or [run for run in self.runs if run.failed]

    @property
    def shown_runs(self) -> str:
        """`7 runs`, or `7 failed runs`."""
        return count(len(self.shown), "run" if self.survivors or not self.shown else "failed run")


@dataclass(frozen=True)
class SettingResults:
    """One setting: the place within which variants are compared."""

    setting: Setting
    groups: tuple[Group, ...]
    """one for each variant, in the study's order"""
    label: str
    """`optim.lr = 0.001`, by what differs between settings; empty where there is one"""

    @property
    def arrays(self) -> dict[str, Array]:
        """What the runs say of the arrays that they may have recorded; only neutral levels may differ between runs."""
        return {name: array for group in self.groups for run in group.runs for name, array in run.arrays.items()}


@dataclass(frozen=True)
class Results:
    """A study and what its runs recorded."""

    folder: StudyFolder
    study: Study
    data_sha256: str
    settings: tuple[SettingResults, ...]
    planned_seeds: tuple[int, ...]
    """all that the study may take; fewer are of interest where a look has ended it"""
    tuning: Tuning | None = None
    """how far the study's tuning is; None where nothing is tuned"""
    trials: "Results | None" = None
    """the trials as a study of their own, in which the tuned fields are settings"""

    @property
    def metric(self) -> Metric:
        return parse_metric(self.study.metric)

    def failed_score(self, setting: SettingResults) -> float:
        """What a failed run of a setting scores: the loss of a model that knows only how frequent each character is.

        It is that of the text that the metric reads, but never better than a run of the setting that did not fail: a
        run of few steps may still be worse than counting. NaN where no run failed, and where the metric is no loss.
        """
        finished = [run for group in setting.groups for run in group.runs if run.finished]
        if not any(run.failed for run in finished):
            return math.nan
        unigram = finished[0].info["data"].get("unigram_losses", {}).get(self.metric.key, math.nan)
        return float(np.max([unigram, *(run.value(self.metric) for run in finished if not run.failed)]))

    def scores(self, setting: SettingResults, group: Group) -> list[float]:
        """The metric of every run, in place of it the score of one that failed; NaN of one that is not finished."""
        failed = self.failed_score(setting)
        return [failed if run.failed else run.value(self.metric) for run in group.runs]

    def first_seeds(self, seeds: int) -> "Results":
        """The same of the study's first seeds alone."""
        settings = tuple(
            replace(setting, groups=tuple(replace(group, runs=group.runs[:seeds]) for group in setting.groups))
            for setting in self.settings
        )
        return replace(self, study=self.study.model_copy(update={"seeds": self.study.seeds[:seeds]}), settings=settings)

    def places(self) -> Iterator[tuple[SettingResults, Group, int, RunReader]]:
        """Every planned run with its setting, variant and seed."""
        for setting in self.settings:
            for group in setting.groups:
                for seed, run in zip(self.study.seeds, group.runs, strict=True):
                    yield setting, group, seed, run


def collect(folder: StudyFolder, cache: dict[str, RunReader] | None = None) -> Results:
    """Find the runs of a study.

    Args:
        cache: runs that were read for another study of the same folder, by fingerprint; this study's are added.

    Raises:
        InputError: the study's files are missing or corrupt, or name no run for a variant, setting and seed.
    """
    study, data_sha256, cache = folder.read(), folder.data_sha256(), {} if cache is None else cache
    if study.tune:
        plan = plan_from_records(study, data_sha256, folder.out, cache)
        return collect_planned(folder, study, data_sha256, plan, cache)
    return _results(folder, study, data_sha256, folder.table(), cache)


def collect_planned(
    folder: StudyFolder, study: Study, data_sha256: str, plan: StudyPlan, cache: MutableMapping[str, RunReader]
) -> Results:
    """The same before the study's own files are written, or where another process writes them."""
    if plan.tuning is None:
        return _results(folder, study, data_sha256, _entries(plan.runs), cache)
    chosen = {arm: best.values for arm, best in plan.tuning.best.items()}
    results = _results(folder, study, data_sha256, _entries(plan.runs), cache, chosen)
    trials = _results(folder, plan.tuning.trials_of, data_sha256, _entries(plan.tuning.trials), cache)
    return replace(results, tuning=plan.tuning, trials=trials)


def _entries(runs: Sequence[PlannedRun]) -> list[RunEntry]:
    return [RunEntry(run.variant, run.setting, run.seed, run.fingerprint) for run in runs]


def _results(
    folder: StudyFolder,
    study: Study,
    data_sha256: str,
    table: Sequence[RunEntry],
    cache: MutableMapping[str, RunReader],
    chosen: Mapping[Arm, Setting] | None = None,
) -> Results:
    """
    Args:
        chosen: of a study with `tune`, the best values; empty while its runs are not known.
    """
    fingerprints = {canonical([each.variant, dict(each.setting), each.seed]): each.run for each in table}

    def reader(variant: Scalar, setting: Setting, seed: int) -> RunReader:
        fingerprint = fingerprints.get(canonical([variant, dict(setting), seed]))
        if fingerprint is None and chosen == {}:
            fingerprint = UNCHOSEN
        if fingerprint is None:
            where = f"{study.factor} = {label(variant)}, seed {seed}"
            raise InputError(f"{folder.runs_json}: corrupt, names no run for {where}")
        if fingerprint not in cache:
            cache[fingerprint] = RunReader(run_at(folder.out, fingerprint))
        return cache[fingerprint]

    def group(variant: Scalar, setting: Setting) -> Group:
        runs = tuple(reader(variant, setting, seed) for seed in study.seeds)
        return Group(variant, runs, (chosen or {}).get((variant, setting), ()))

    settings = tuple(
        SettingResults(
            setting,
            tuple(group(variant, setting) for variant in study.variants),
            fields_text({key: value for key, value in setting if key in study.varied}),
        )
        for setting in settings_of(study.settings)
    )
    return Results(folder, study, data_sha256, settings, study.seeds)
