"""What one rank does: with the others of its row it takes cells, one pack at a time, until none is left to take.

Any number of rows may share an output folder: a lease on each cell keeps two from doing the same work, and what a
dead worker held is free at once.
"""

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence

from gpt.errors import InputError
from gpt.records.files import write_atomic
from gpt.records.run_folder import Status
from gpt.runner.ranks.group import Fall, RankLostError, Row
from gpt.runner.resume import resumable_steps
from gpt.runner.seed_batch import train_pack
from gpt.runner.workspace import Place
from gpt.study.folder import cell_at
from gpt.study.plan import PlannedCell, describe


def work(packs: Sequence[Sequence[PlannedCell]], place: Place, row: Row, stop: Callable[[], bool]) -> None:
    """Train, with the other ranks of the row, every cell that is neither finished nor in another's hands.

    A cell that fails does not end the others.

    Raises:
        RankLostError: the row cannot go on.
    """
    row.join()
    for number in row.take(len(packs)):
        with contextlib.ExitStack() as leases:
            ready = _lease(packs[number], place, row, leases) if row.ranks.leads else {}
            for together in row.ranks.from_leader(_divide(ready)):
                _attempt([packs[number][i] for i in together], place, row, stop)
    row.leave()


def _lease(pack: Sequence[PlannedCell], place: Place, row: Row, leases: contextlib.ExitStack) -> dict[int, set[int]]:
    """The cells of a pack that this row has from now on, by their places in it, each with the steps it can resume.

    A cell whose folder cannot be read is left out and named; when all is over it counts as not done.
    """
    ready = {}
    for index, planned in enumerate(pack):
        cell = cell_at(place.out, planned.fingerprint)
        try:
            if cell.finished:
                continue
            lease = cell.try_lease()
            if lease is None:
                row.note_held(planned.fingerprint)
                continue
            leases.enter_context(lease)
            status = cell.read_status()
            if status.state == "failed":
                print(
                    f"gpt: {describe(planned)} is tried again; it had failed: {status.why}", file=sys.stderr, flush=True
                )
            if not status.finished:
                ready[index] = resumable_steps(cell)
        except (InputError, OSError) as error:
            print(f"gpt: {describe(planned)}: {error}", file=sys.stderr, flush=True)
    return ready


def _divide(ready: Mapping[int, set[int]]) -> list[list[int]]:
    """Cells that can go on together: all, if there is a step that all can resume, else those of one newest step."""
    if ready and set.intersection(*ready.values()):
        return [list(ready)]
    of_newest: dict[int, list[int]] = {}
    for index, steps in ready.items():
        of_newest.setdefault(max(steps, default=-1), []).append(index)
    return list(of_newest.values())


def _attempt(cells: Sequence[PlannedCell], place: Place, row: Row, stop: Callable[[], bool]) -> None:
    """Train cells together; if that fails, one by one, so that only those at fault are marked failed."""
    if row.ranks.any(stop()):
        return
    try:
        train_pack(cells, place, stop, row.ranks)
        row.ranks.any(False)  # what fails in one rank at the very end is every rank's failure too
        return
    except Exception as error:  # whatever goes wrong in one cell must not end the others
        try:
            fall = row.break_up(error)
        except RankLostError as lost:
            if row.ranks.leads:
                _fail(cells, place, Fall(str(lost), ""))
            training = ", ".join(f"{describe(cell)}, cell {cell.fingerprint}" for cell in cells)
            raise RankLostError(f"{lost}; it was training {training}") from error
    if len(cells) == 1 and row.ranks.leads:
        _fail(cells, place, fall)
    row.join()
    if len(cells) > 1:
        for cell in cells:
            _attempt([cell], place, row, stop)


def _fail(cells: Sequence[PlannedCell], place: Place, fall: Fall) -> None:
    for planned in cells:
        cell = cell_at(place.out, planned.fingerprint)
        why = fall.why
        try:
            if fall.trace:
                write_atomic(cell.failure, fall.trace.encode())
                why = f"{why} (see {cell.failure.name})"
            before = cell.read_status()
            cell.write_status(
                Status("failed", before.step, planned.config.train.steps, why, before.attempts, before.seconds)
            )
        except (InputError, OSError) as error:  # what made it fail, a full disk, may keep it from being written down
            print(f"gpt: {describe(planned)}: {why}; and that cannot be written: {error}", file=sys.stderr)
