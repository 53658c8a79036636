"""Fixtures of the records' tests: a folder that cannot be written to, and children that die at a chosen system call."""

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CALLS = ("open", "write", "fsync", "ftruncate", "rename", "replace", "mkdir", "unlink")


@pytest.fixture
def locked_folder() -> Iterator[Path]:
    """A folder that this process may look into but not write to, root or not."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer) / "folder"
        folder.mkdir(mode=0o555)
        Path(outer).chmod(0o755)
        if user == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(user)


@pytest.fixture
def kill_at_call() -> Callable[[int, Callable[[], None]], bool]:
    """`kill_at_call(k, work)`: a forked child does `work` and is killed just before its k-th system call on files,
    a write first writing half of its bytes; True if it lived to the end."""

    def run(fatal: int, work: Callable[[], None]) -> bool:
        child = os.fork()
        if child == 0:
            _die_at(fatal)
            try:
                work()
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert status in (0, signal.SIGKILL)
        return status == 0

    return run


def _die_at(fatal: int) -> None:
    calls = 0

    def wrap(name: str) -> None:
        original = getattr(os, name)

        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == fatal:
                if name == "write":
                    original(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        setattr(os, name, call)

    for name in CALLS:
        wrap(name)
