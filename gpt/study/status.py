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

    @property
    def summary(self) -> str:
        return f"{self.name}: {self.finished} of {self.runs} runs finished" + (f"; {self.look}" if self.look else "")

    def __str__(self) -> str:
        shown = [s for s in STATES if s in FINISHED or any(variant.states.get(s) for variant in self.variants)]
        width = max(len(variant.variant) for variant in self.variants)
        lines = [self.summary]
        for variant in self.variants:
            counts = "  ".join(f"{variant.states.get(state, 0):>4} {state}" for state in shown)
            lines.append(f"  {variant.variant.ljust(width)}  {counts}")
        return "\n".join([*lines, *(f"  {run}" for run in self.failed)])


def study_status(folder: StudyFolder, seeds: Sequence[int] | None = None, look: str = "") -> StudyStatus:
    """Look at the status of every planned run.

    Args:
        seeds: those that are looked at, where a study has looks; by default all.
        look: what is said of it.

    Raises:
        InputError: the study's own files are corrupt; a run's corrupt status counts as failed.
    """
    study = folder.read()
    counts = {label(variant): Counter[str]() for variant in study.variants}
    failed = []
    for entry in folder.table():
        if seeds is not None and entry.seed not in seeds:
            continue
        run, variant = run_at(folder.out, entry.run), label(entry.variant)
        status = run.read_status()
        killed = status.state == "running" and not run.in_use
        counts.setdefault(variant, Counter())[INTERRUPTED if killed else status.state] += 1
        if status.state == "failed":
            setting = fields_text({key: value for key, value in entry.setting if key in study.varied})
            failed.append(FailedRun(entry.run, variant, setting, entry.seed, status.why))
    return StudyStatus(
        study.name,
        sum(count[state] for count in counts.values() for state in FINISHED),
        sum(count.total() for count in counts.values()),
        [VariantStatus(variant, dict(count)) for variant, count in counts.items()],
        failed,
        look,
    )
