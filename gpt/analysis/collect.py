"""What the runs of a study recorded, in the study's own order; every planned run is there, whatever became of it."""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace

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
        return [run for run in self.runs if run.finished and not run.diverged]

    @property
    def shown(self) -> list[RunReader]:
        """The runs that figures show the mean of: the survivors, or all that diverged where none survived."""
        return self.survivors or [run for run in self.runs if run.diverged]

    @property
    def shown_runs(self) -> str:
        """`7 runs`, or `7 diverged runs`."""
        return count(len(self.shown), "run" if self.survivors or not self.shown else "diverged run")


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
