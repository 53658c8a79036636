"""Tuning with equal budgets: the trials that every variant gets alike, and each variant's best.

A trial is an ordinary run. Which values are best is decided by the lowest validation loss, averaged over the seeds of
the trials, which the comparison never uses. The plan follows from the study file and from what the trials recorded, so
that whoever resumes a study plans the same runs.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Literal

from gpt.errors import InputError
from gpt.study.plan import Arm, PlannedRun, Setting, plan
from gpt.study.spec import Scalar, Study, Tune

FIRST_SEED = 10_000
"""trials have this seed and those that follow it; `seeds: N` never gets so far"""
MOST_EXTENSIONS = 2
"""values that are added beyond either end of a field's grid"""

Loss = Callable[[str], float | None]
"""fingerprint of a trial -> the loss that it is chosen by; None until it is finished"""
End = Literal["low", "high"]
Grid = Mapping[str, tuple[Scalar, ...]]


@dataclass(frozen=True)
class Best:
    """What was chosen for an arm."""

    values: Setting
    """of the tuned fields"""
    loss: float
    """mean over the seeds of the trials"""
    ends: Mapping[str, End]
    """the fields whose value is the `low` or `high` end of the grid, with a loss that still falls towards it"""


@dataclass(frozen=True)
class Tuning:
    """How far the tuning of a study is."""

    trials_of: Study
    """the study whose runs are the trials: the tuned fields are settings, and the seeds are those of the trials"""
    grid: Grid
    """as far as it has been extended"""
    trials: list[PlannedRun]
    best: Mapping[Arm, Best]
    """of every arm; empty while a trial is missing"""


@dataclass(frozen=True)
class StudyPlan:
    """What a study trains, as far as that is known."""

    tuning: Tuning | None
    """None: nothing is tuned"""
    runs: list[PlannedRun]
    """of the comparison; empty while its tuning is not finished"""

    @property
    def trials(self) -> list[PlannedRun]:
        return self.tuning.trials if self.tuning else []

    @property
    def all_runs(self) -> list[PlannedRun]:
        return [*self.trials, *self.runs]

    def on_seeds(self, seeds: Collection[int]) -> list[PlannedRun]:
        """The trials, and the runs of the comparison on some of its seeds."""
        return [*self.trials, *(run for run in self.runs if run.seed in seeds)]


def plan_so_far(study: Study, data_sha256: str, loss: Loss) -> StudyPlan:
    """All runs whose configuration is known by now."""
    if study.tune is None:
        return StudyPlan(None, plan(study, data_sha256))
    tuning = tune(study, study.tune, data_sha256, loss)
    chosen = {arm: best.values for arm, best in tuning.best.items()}
    return StudyPlan(tuning, plan(study, data_sha256, chosen) if chosen else [])


def tune(study: Study, asked: Tune, data_sha256: str, loss: Loss) -> Tuning:
    """The trials, on a grid that is extended wherever the best of a variant is at its end, and every arm's best."""
    grid: Grid = asked.grid
    while True:
        of = trials_of(study, asked, grid)
        trials = plan(of, data_sha256)
        best = _best(study, grid, trials, loss)
        wider = _extended(study, asked, grid, best) if asked.extend else grid
        if wider == grid:
            return Tuning(of, grid, trials, best)
        grid = wider


def trials_of(study: Study, asked: Tune, grid: Grid) -> Study:
    """The study whose runs are the trials on a grid."""
    settings = {**study.settings, **grid}
    return study.model_copy(update={"settings": settings, "seeds": asked.seeds, "looks": (), "tune": None})


def _best(study: Study, grid: Grid, trials: list[PlannedRun], loss: Loss) -> Mapping[Arm, Best]:
    """The values of lowest mean loss of each arm, the first of equal ones; nothing while a trial is missing."""
    losses: dict[Arm, dict[Setting, list[float]]] = {}
    for trial in trials:
        lost = loss(trial.fingerprint)
        if lost is None:
            return {}
        values = tuple(field for field in trial.setting if field[0] in grid)
        arm = trial.variant, tuple(field for field in trial.setting if field[0] not in grid)
        losses.setdefault(arm, {}).setdefault(values, []).append(lost)
    means = {arm: {values: fmean(lost) for values, lost in of.items()} for arm, of in losses.items()}
    chosen = {arm: min(of, key=lambda values: of[values]) for arm, of in means.items()}
    return {arm: Best(values, means[arm][values], _ends(grid, values, means[arm])) for arm, values in chosen.items()}


def _ends(grid: Grid, chosen: Setting, means: Mapping[Setting, float]) -> dict[str, End]:
    """See `Best.ends`; the value 0 is no end, as nothing lies below it."""
    ends: dict[str, End] = {}
    for field, value in chosen:
        values = grid[field]
        if rises(values) and value in (values[0], values[-1]) and value != 0:
            neighbour = values[1] if value == values[0] else values[-2]
            beside = tuple((key, neighbour if key == field else of) for key, of in chosen)
            if means[beside] > means[chosen]:
                ends[field] = "low" if value == values[0] else "high"
    return ends


def _extended(study: Study, asked: Tune, grid: Grid, best: Mapping[Arm, Best]) -> Grid:
    """The grid with a value more at each end where the best of an arm lies, as far as that may be."""
    wider = dict(grid)
    for field, values in grid.items():
        ends = {of.ends.get(field) for of in best.values()}
        start, planned = values.index(asked.grid[field][0]), len(asked.grid[field])
        if "low" in ends and start < MOST_EXTENSIONS:
            wider[field] = _beyond(study, asked, grid, field, values[0], values[1]) + wider[field]
        if "high" in ends and len(values) - start - planned < MOST_EXTENSIONS:
            wider[field] += _beyond(study, asked, grid, field, values[-1], values[-2])
    return wider


def rises(values: tuple[Scalar, ...]) -> bool:
    """Whether they are several numbers in rising order."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return len(numbers) == len(values) > 1 and all(a < b for a, b in pairwise(numbers))


def _beyond(study: Study, asked: Tune, grid: Grid, field: str, end: Scalar, neighbour: Scalar) -> tuple[Scalar, ...]:
    """The value as many times beyond the end as that is beyond its neighbour; none where no run can have it."""
    if not (isinstance(end, int | float) and isinstance(neighbour, int | float) and end > 0 and neighbour > 0):
        return ()
    value = end * end / neighbour
    new = round(value) if isinstance(end, int) else float(f"{value:.3g}")
    try:
        plan(trials_of(study, asked, {**grid, field: (new,)}), "")
    except InputError:
        return ()
    return () if new == end else (new,)
