"""Forked children: torch is imported and warm, so that one costs a fraction of a second, and may die."""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass

Say = Callable[[object], None]
"""tells the parent something, at once, whatever becomes of the child afterwards"""


@dataclass(frozen=True)
class Ended:
    """How a child ended, and what it said before."""

    status: int
    """0, or what `os.waitpid` says"""
    said: list[str]

    @property
    def killed(self) -> bool:
        return os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL


def in_child(work: Callable[[Say], object], kill_after: float | None = None) -> Ended:
    """Do `work(say)` in a fork of this process.

    Args:
        kill_after: seconds after which it is killed, if it has not ended.
    """
    receive, send = os.pipe()
    tell = os.write  # a child may replace os.write by one that dies
    child = os.fork()
    if child == 0:
        try:
            work(lambda what: tell(send, f"{what}\n".encode()))
            os._exit(0)
        finally:
            os._exit(1)
    os.close(send)
    alarm = threading.Timer(kill_after or 0, os.kill, (child, signal.SIGKILL))
    if kill_after is not None:
        alarm.start()
    with os.fdopen(receive) as pipe:
        said = pipe.read().splitlines()
    alarm.cancel()
    return Ended(os.waitpid(child, 0)[1], said)
