"""How far a study is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gpt.records.run_folder import FINISHED
from gpt.study.folder import StudyFolder, run_at
from gpt.study.plan import fields_text, label

INTERRUPTED = "interrupted"
"""a run whose status says that it runs while no process works on it"""
STATES = ("done", "diverged", "running", INTERRUPTED, "preempted", "failed", "planned")


@dataclass(frozen=True)
class VariantStatus:
    variant: str
    states: dict[str, int]
    """number of runs in each state that occurs"""


@dataclass(frozen=True)
class FailedRun:
    run: str
    """its fingerprint, and folder in OUT/runs"""
    variant: str
    setting: str
    """`optim.lr = 0.001`; empty where nothing is crossed"""
    seed: int
    why: str

    def __str__(self) -> str:
        return f"failed: {', '.join(filter(None, [self.variant, self.setting, f'seed {self.seed}']))}: {self.why}"


@dataclass(frozen=True)
class StudyStatus:
    """A study as `gpt study status` answers."""

    name: str
    finished: int
    runs: int
    variants: list[VariantStatus]
    failed: list[FailedRun]
    look: str = ""
    """at which look it is, and whether that ended it; empty of a study without looks"""
    trials: int = 0
    """runs of the grid as it is by now, that choose each variant's best values; 0 where nothing is tuned"""
    trials_finished: int = 0
    stage: str = ""
    """`tuning`, or `comparison` once every best is chosen; empty where nothing is tuned"""

    @property
    def complete(self) -> bool:
        """Nothing is left to train."""
        return self.stage != "tuning" and self.finished == self.runs

    @property
    def summary(self) -> str:
        runs = f"{self.finished} of {self.runs} runs finished"
        trials = f"{self.trials_finished} of {self.trials} trials finished"
        parts = {"": [runs], "tuning": [trials, "no best is chosen yet"], "comparison": [trials, runs]}[self.stage]
        return f"{self.name}: {'; '.join(filter(None, [*parts, self.look]))}"

    def __str__(self) -> str:
        shown = [s for s in STATES if s in FINISHED or any(variant.states.get(s) for variant in self.variants)]
        width = max(len(variant.variant) for variant in self.variants)
        lines = [self.summary]
        for variant in self.variants:
            counts = "  ".join(f"{variant.states.get(state, 0):>4} {state}" for state in shown)
            lines.append(f"  {variant.variant.ljust(width)}  {counts}")
        return "\n".join([*lines, *(f"  {run}" for run in self.failed)])


def study_status(folder: StudyFolder, seeds: Sequence[int] | None = None, look: str = "") -> StudyStatus:
    """Look at the status of every run that is known by now, trials among them.

    Args:
        seeds: those of the comparison that are looked at, where a study has looks; by default all.
        look: what is said of it.

    Raises:
        InputError: the study's own files are corrupt; a run's corrupt status counts as failed.
    """
    study, finished = folder.read(), Counter[str]()
    counts = {label(variant): Counter[str]() for variant in study.variants}
    failed, total = [], Counter[str]()
    tuned = study.tune.grid if study.tune else {}
    for entry in folder.table():
        kind = "trial" if tuned and set(tuned) <= dict(entry.setting).keys() else "run"
        if kind == "run" and seeds is not None and entry.seed not in seeds:
            continue
        run, variant = run_at(folder.out, entry.run), label(entry.variant)
        status = run.read_status()
        killed = status.state == "running" and not run.in_use
        counts.setdefault(variant, Counter())[INTERRUPTED if killed else status.state] += 1
        total[kind] += 1
        finished[kind] += status.finished
        if status.state == "failed":
            setting = fields_text({key: value for key, value in entry.setting if key in {*study.varied, *tuned}})
            failed.append(FailedRun(entry.run, variant, setting, entry.seed, status.why))
    return StudyStatus(
        study.name,
        finished["run"],
        total["run"],
        [VariantStatus(variant, dict(count)) for variant, count in counts.items()],
        failed,
        look,
        total["trial"],
        finished["trial"],
        "" if not tuned else "comparison" if total["run"] else "tuning",
    )
