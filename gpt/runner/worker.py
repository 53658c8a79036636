"""One process that takes cells, one pack at a time, until none is left that it could take.

Any number of workers may share an output folder: a lease on each cell keeps two from doing the same work, and what a
dead worker held is free at once.
"""

import contextlib
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

from gpt.errors import InputError
from gpt.records.cell import Status
from gpt.records.files import write_atomic
from gpt.runner.pack import Place, train_pack
from gpt.study.folder import cell_at
from gpt.study.plan import PlannedCell


@dataclass
class Stop:
    """Whether this process was asked to stop: by a signal, or because the process that started it is gone."""

    asked: bool = False
    parent: int = 0

    def __call__(self) -> bool:
        return self.asked or (self.parent != 0 and os.getppid() != self.parent)


@contextlib.contextmanager
def stop_on_signals(*signals: signal.Signals, parent: int = 0) -> Iterator[Stop]:
    """Turn signals into a request that is honoured at the next step boundary.

    Args:
        parent: process whose end is a request too; 0 for none.
    """
    stop = Stop(parent=parent)

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.asked = True

    before = {number: signal.signal(number, ask) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def work(cells: Sequence[PlannedCell], place: Place, stop: Callable[[], bool]) -> None:
    """Train every cell that is neither finished nor in another's hands; a cell that fails does not end the others."""
    for planned in cells:
        if stop():
            return
        cell = cell_at(place.out, planned.fingerprint)
        if cell.finished:
            continue
        lease = cell.try_lease()
        if lease is None:
            continue
        with lease:
            if not cell.finished:
                _attempt(planned, place, stop)


def _attempt(planned: PlannedCell, place: Place, stop: Callable[[], bool]) -> None:
    cell = cell_at(place.out, planned.fingerprint)
    try:
        train_pack([planned], place, stop)
    except InputError as error:
        _fail(planned, place, str(error))
    except Exception as error:  # whatever goes wrong in one cell must not end the others
        write_atomic(cell.failure, traceback.format_exc().encode())
        _fail(planned, place, f"{type(error).__name__}: {error} (see {cell.failure.name})")


def _fail(planned: PlannedCell, place: Place, why: str) -> None:
    cell = cell_at(place.out, planned.fingerprint)
    status = cell.read_status()
    cell.write_status(Status("failed", status.step, planned.config.train.steps, why, status.attempts, status.seconds))
