"""Which processes of this machine descend from which, and what ends with what (Linux; see prctl(2)).

Elsewhere no descendant is known: there the ranks' own watch for their parent has to do.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LIBRARY = ctypes.CDLL(None) if sys.platform == "linux" else None
"""loaded here, as nothing may be loaded between fork and exec"""
KILL_SECONDS = 10.0
"""time to wait for processes that were killed; one that sleeps in the kernel may take longer"""
POLL_SECONDS = 0.02


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends before it."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def signal_at_end_of_parent(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent ends, however it does."""
    _prctl(PR_SET_PDEATHSIG, number)


def _prctl(option: int, value: int) -> None:
    if LIBRARY:
        LIBRARY.prctl(option, value, 0, 0, 0)


def descendants(ancestor: int) -> list[int]:
    """The processes that descend from one and have not ended, parents before their children."""
    children: dict[int, list[int]] = {}
    ended = set()
    for pid, parent, state in _processes():
        children.setdefault(parent, []).append(pid)
        if state in "ZX":
            ended.add(pid)
    family = [ancestor]
    for pid in family:
        family += children.get(pid, [])
    return [pid for pid in family[1:] if pid not in ended]


def descends(pid: int, ancestor: int) -> bool:
    """Whether a process is a descendant of another."""
    parents = {pid: parent for pid, parent, _ in _processes()}
    while pid in parents:
        pid = parents[pid]
        if pid == ancestor:
            return True
    return not parents


def kill_descendants(ancestor: int) -> None:
    """Kill everything that descends from a process, also what is started meanwhile."""
    deadline = time.monotonic() + KILL_SECONDS
    while (left := descendants(ancestor)) and time.monotonic() < deadline:
        for pid in left:  # a launcher before its ranks, so that it does not complain of their end
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def _processes() -> Iterator[tuple[int, int, str]]:
    """Number, parent's number and state of every process of this machine."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # ended since it was listed
            state, parent = entry.read_text(errors="replace").rpartition(")")[2].split()[:2]
            yield int(entry.parent.name), int(parent), state
