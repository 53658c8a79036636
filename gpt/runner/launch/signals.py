"""A request to stop: the signals that mean it, and whether one has come."""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""by a person, by a scheduler, by a terminal that closes, by a batch system ahead of its time limit"""
LAUNCHER_ENDED = signal.SIGUSR2
"""what a supervised rank gets from the kernel: it stops where it listens, and dies where it has not begun to"""


@dataclass
class Stop:
    """Whether this process was asked to stop: by a signal, or because the process that started it is gone."""

    asked: bool = False
    interrupts: int = 0
    """how often a person pressed Ctrl-C; schedulers send their signals more than once and mean nothing by it"""
    parent: int = 0

    def __call__(self) -> bool:
        return self.asked or (self.parent != 0 and os.getppid() != self.parent)


@contextlib.contextmanager
def stop_on_signals(*signals: signal.Signals, parent: int = 0) -> Iterator[Stop]:
    """Turn signals into a request that is honoured at the next step boundary.

    Signals that this process held back until now, as a supervised rank does, come in at once.

    Args:
        parent: process whose end is a request too; 0 for none.
    """
    stop = Stop(parent=parent)

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.asked = True
        stop.interrupts += number == signal.SIGINT

    before = {number: signal.signal(number, ask) for number in signals}
    held_back = signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    try:
        yield stop
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
        for number, handler in before.items():
            signal.signal(number, handler)
