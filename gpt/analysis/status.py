"""How far a study is, and how its finished runs ended."""

from collections import Counter
from dataclasses import dataclass

from gpt.analysis.collect import Results
from gpt.analysis.outcomes import FAILED
from gpt.analysis.run_reader import RunReader
from gpt.analysis.verdicts import look_text
from gpt.errors import InputError

INTERRUPTED = "interrupted"
"""a run whose status says that it runs while no process works on it"""
STATES = ("done", "too short to tell", *FAILED, "running", INTERRUPTED, "preempted", "failed", "planned")
"""how a finished run ended, as its report says it; of any other how far it is"""


@dataclass(frozen=True)
class VariantStatus:
    variant: str
    states: dict[str, int]
    """number of runs in each of `STATES` that occurs, trials among them"""


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
    """runs that an error ended, or whose records cannot be read"""
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
        shown = [s for s in STATES if s == "done" or any(variant.states.get(s) for variant in self.variants)]
        width = max(len(variant.variant) for variant in self.variants)
        lines = [self.summary]
        for variant in self.variants:
            counts = "  ".join(f"{variant.states.get(state, 0):>4} {state}" for state in shown)
            lines.append(f"  {variant.variant.ljust(width)}  {counts}")
        return "\n".join([*lines, *(f"  {run}" for run in self.failed)])


def study_status(results: Results) -> StudyStatus:
    """Every run that is known by now, trials among them.

    Args:
        results: as far as they are `needed`.
    """
    tuning = results.tuning
    chosen = tuning is None or bool(tuning.best)
    trials = list(results.trials.places()) if results.trials else []
    runs = list(results.places()) if chosen else []
    counts = {group.label: Counter[str]() for group in results.settings[0].groups}
    failed = []
    for setting, group, seed, run in (*trials, *runs):
        state, why = _state(run)
        counts[group.label][state] += 1
        if state == "failed":
            failed.append(FailedRun(run.fingerprint, group.label, setting.label, seed, why))
    return StudyStatus(
        name=results.study.name,
        finished=sum(run.finished for *_, run in runs),
        runs=len(runs),
        variants=[VariantStatus(variant, dict(count)) for variant, count in counts.items()],
        failed=failed,
        look=look_text(results) if chosen else "",
        trials=len(trials),
        trials_finished=sum(run.finished for *_, run in trials),
        stage="" if tuning is None else "comparison" if chosen else "tuning",
    )


def _state(run: RunReader) -> tuple[str, str]:
    """One of `STATES`, and why a run failed."""
    try:
        if run.ending:
            return run.ending.outcome, run.ending.why
    except InputError as error:
        return "failed", str(error)
    killed = run.status.state == "running" and not run.folder.in_use
    return INTERRUPTED if killed else run.status.state, run.status.why
