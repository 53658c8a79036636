"""A request to stop: the signals that mean it, and whether one has come."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
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
    starter_is_alive: Callable[[], bool] = lambda: True

    def __call__(self) -> bool:
        return self.asked or not self.starter_is_alive()


def parent_watch() -> Callable[[], bool]:
    """Whether the parent of now is still there, whenever it is asked."""
    parent = os.getppid()
    return lambda: os.getppid() == parent


@contextlib.contextmanager
def stop_on_signals(*signals: signal.Signals, starter_is_alive: Callable[[], bool] = lambda: True) -> Iterator[Stop]:
    """Turn signals into a request that is honoured at the next step boundary.

    Signals that this process held back until now, as a rank that is starting does, come in at once.

    Args:
        starter_is_alive: whether the process is there whose end is a request too.
    """
    stop = Stop(starter_is_alive=starter_is_alive)

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
