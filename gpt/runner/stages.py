"""What studies train next: the trials that choose, on a grid that may grow, then the comparison, look by look."""

import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gpt.analysis.collect import collect_planned
from gpt.analysis.run_reader import RunReader
from gpt.analysis.trials import plan_from_records
from gpt.analysis.verdicts import needed
from gpt.runner.launch.signals import STOP_SIGNALS, stop_on_signals
from gpt.study.folder import StudyFolder, run_at
from gpt.study.plan import PlannedRun, fields_text, name_arm
from gpt.study.spec import Study
from gpt.study.tuning import StudyPlan

POLL_SECONDS = 1.0
"""time between two looks at the runs that other commands are training"""


@dataclass(frozen=True)
class Stage:
    """How far the plans of all studies are known."""

    plans: Sequence[StudyPlan]
    due: list[PlannedRun]
    """by seed, each once; of a study with looks those that the next one takes"""
    open: bool
    """what is trained later may follow from these"""


class Stages:
    """The studies of one command, as their records stand."""

    def __init__(self, opened: Sequence[tuple[Study, Sequence[PlannedRun], str]], out: Path):
        self._studies = [(study, data_sha256, StudyFolder(out, study.name)) for study, _, data_sha256 in opened]
        self._out = out
        self._finished: dict[str, RunReader] = {}

    @property
    def folders(self) -> list[StudyFolder]:
        return [folder for _, _, folder in self._studies]

    def start(self, stage: Stage) -> None:
        """Write the studies down, or check them against what was written; see `StudyFolder.start`."""
        for (study, data_sha256, folder), plan in zip(self._studies, stage.plans, strict=True):
            folder.start(study, data_sha256, plan.all_runs)
        self._write_tables()

    def now(self) -> Stage:
        """The stage that the records have come to."""
        cache = self._finished = {name: run for name, run in self._finished.items() if run.finished}
        plans, is_open = [], False
        due: dict[str, PlannedRun] = {}
        for study, data_sha256, folder in self._studies:
            plan = plan_from_records(study, data_sha256, self._out, cache)
            seeds = study.seeds
            if study.looks and plan.runs:
                seeds = needed(collect_planned(folder, study, data_sha256, plan, cache)).study.seeds
            plans.append(plan)
            is_open |= not plan.runs or len(seeds) < len(study.seeds)
            due |= {run.fingerprint: run for run in plan.on_seeds(seeds)}
        return Stage(plans, sorted(due.values(), key=lambda run: run.seed), is_open)

    def next(self, before: Stage) -> Stage | None:
        """The stage that follows one whose runs are finished, said and written down; None where that was the last."""
        after = self.now()
        if len(after.due) == len(before.due):
            return None
        self._write_tables()
        for (study, _, _), old, new in zip(self._studies, before.plans, after.plans, strict=True):
            for line in _news(study.name, old, new):
                print(line, file=sys.stderr)
        if [len(plan.all_runs) for plan in before.plans] == [len(plan.all_runs) for plan in after.plans]:
            print(f"not every contrast has a verdict: on to the next look, {len(after.due)} runs", file=sys.stderr)
        return after

    def lost(self, runs: Sequence[PlannedRun]) -> set[str]:
        """Those that nobody trains and that are not finished, by their fingerprints."""
        folders = [run_at(self._out, run.fingerprint) for run in runs]
        return {folder.root.name for folder in folders if not (folder.in_use or folder.finished)}

    def wait_for_others(self, stage: Stage, given_up: Collection[str]) -> list[PlannedRun] | None:
        """Wait for the runs of a stage that other commands are training, as the next stage follows from them.

        Args:
            given_up: runs that are not waited for.

        Returns:
            Runs that nobody trains any more and that are not finished; None where a signal asks for an end first.
        """
        waited_for = [run for run in stage.due if run.fingerprint not in given_up]
        with stop_on_signals(*STOP_SIGNALS) as stop:
            said = False
            while not stop():
                lost = self.lost(waited_for)
                if lost or all(run_at(self._out, run.fingerprint).finished for run in waited_for):
                    return [run for run in waited_for if run.fingerprint in lost]
                if not said:
                    print("waits for other commands' runs, as the next ones follow from them", file=sys.stderr)
                    said = True
                time.sleep(POLL_SECONDS)
        return None

    def _write_tables(self) -> None:
        for study, data_sha256, folder in self._studies:
            if study.tune:
                folder.advance(partial(_planned, study, data_sha256, self._out))


def _planned(study: Study, data_sha256: str, out: Path) -> list[PlannedRun]:
    return plan_from_records(study, data_sha256, out, {}).all_runs


def _news(name: str, before: StudyPlan, after: StudyPlan) -> list[str]:
    """What a study's trials have decided between two stages."""
    if before.tuning is None or after.tuning is None or len(before.all_runs) == len(after.all_runs):
        return []
    lines = [
        f"{name}: the best {field} of a variant is at the end of its grid: all are tried with {added} too"
        for field, values in after.tuning.grid.items()
        if (added := ", ".join(f"{value}" for value in values if value not in before.tuning.grid[field]))
    ]
    if after.runs and not before.runs:
        lines += [
            f"{name}: {name_arm(*arm)} is best with {fields_text(dict(best.values))}"
            for arm, best in after.tuning.best.items()
        ]
        lines.append(f"{name}: on to the comparison, {len(after.runs)} runs on seeds that no trial had")
    return lines
