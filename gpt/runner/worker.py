"""What one rank does: with the others of its group it takes runs, one seed batch at a time, until none is left to take.

Any number of groups may share an output folder: a lease on each run keeps two from doing the same work, and what a
dead worker held is free at once.
"""

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence

from gpt.errors import InputError
from gpt.records.files import write_atomic
from gpt.records.run_folder import Status
from gpt.runner.ranks.group import RankFailure, RankGroup, RankLostError
from gpt.runner.resume import resumable_steps
from gpt.runner.seed_batch import train_seed_batch
from gpt.runner.workspace import Workspace
from gpt.study.folder import run_at
from gpt.study.plan import PlannedRun, describe


def work(
    seed_batches: Sequence[Sequence[PlannedRun]], workspace: Workspace, group: RankGroup, stop: Callable[[], bool]
) -> None:
    """Train, with the other ranks of the group, every run that is neither finished nor in another's hands.

    A run that fails does not end the others.

    Raises:
        RankLostError: the group cannot continue.
    """
    group.init()
    for number in group.take(len(seed_batches)):
        with contextlib.ExitStack() as leases:
            ready = _lease(seed_batches[number], workspace, group, leases) if group.ranks.is_main else {}
            for together in group.ranks.broadcast_object(_divide(ready)):
                _attempt([seed_batches[number][i] for i in together], workspace, group, stop)
    group.destroy()


def _lease(
    seed_batch: Sequence[PlannedRun], workspace: Workspace, group: RankGroup, leases: contextlib.ExitStack
) -> dict[int, set[int]]:
    """The runs of a seed batch that this group has from now on, by their places in it, each with the steps it can
    resume.

    A run whose folder cannot be read is left out and named; when all is over it counts as not done.
    """
    ready = {}
    for index, planned in enumerate(seed_batch):
        run = run_at(workspace.out, planned.fingerprint)
        try:
            if run.finished:
                continue
            lease = run.try_lease()
            if lease is None:
                group.note_held(planned.fingerprint)
                continue
            leases.enter_context(lease)
            status = run.read_status()
            if status.state == "failed":
                print(
                    f"gpt: {describe(planned)} is tried again; it had failed: {status.why}", file=sys.stderr, flush=True
                )
            if not status.finished:
                ready[index] = resumable_steps(run)
        except (InputError, OSError) as error:
            print(f"gpt: {describe(planned)}: {error}", file=sys.stderr, flush=True)
    return ready


def _divide(ready: Mapping[int, set[int]]) -> list[list[int]]:
    """Runs to train together: all, if there is a step that all can resume, else those of one newest step."""
    if ready and set.intersection(*ready.values()):
        return [list(ready)]
    of_newest: dict[int, list[int]] = {}
    for index, steps in ready.items():
        of_newest.setdefault(max(steps, default=-1), []).append(index)
    return list(of_newest.values())


def _attempt(runs: Sequence[PlannedRun], workspace: Workspace, group: RankGroup, stop: Callable[[], bool]) -> None:
    """Train runs together; if that fails, one by one, so that only those at fault are marked failed."""
    if group.ranks.any(stop()):
        return
    try:
        train_seed_batch(runs, workspace, stop, group.ranks)
        group.ranks.any(False)  # what fails in one rank at the very end is every rank's failure too
        return
    except Exception as error:  # whatever goes wrong in one run must not end the others
        try:
            failure = group.abort(error)
        except RankLostError as lost:
            if group.ranks.is_main:
                _fail(runs, workspace, RankFailure(str(lost), ""))
            training = ", ".join(f"{describe(run)}, run {run.fingerprint}" for run in runs)
            raise RankLostError(f"{lost}; it was training {training}") from error
    if len(runs) == 1 and group.ranks.is_main:
        _fail(runs, workspace, failure)
    group.init()
    if len(runs) > 1:
        for run in runs:
            _attempt([run], workspace, group, stop)


def _fail(runs: Sequence[PlannedRun], workspace: Workspace, failure: RankFailure) -> None:
    for planned in runs:
        run = run_at(workspace.out, planned.fingerprint)
        why = failure.why
        try:
            if failure.trace:
                write_atomic(run.failure, failure.trace.encode())
                why = f"{why} (see {run.failure.name})"
            before = run.read_status()
            run.write_status(
                Status("failed", before.step, planned.config.train.steps, why, before.attempts, before.seconds)
            )
        except (InputError, OSError) as error:  # what made it fail, a full disk, may keep it from being written down
            print(f"gpt: {describe(planned)}: {why}; and that cannot be written: {error}", file=sys.stderr)
