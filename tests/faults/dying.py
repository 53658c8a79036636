"""Death at a chosen operation on files: by kill -9, in the middle of a write, or with the power."""

import os
import signal
from collections.abc import Callable
from typing import Any

OPERATIONS = ("open", "write", "fsync", "ftruncate", "close", "mkdir", "rename", "replace", "unlink", "rmdir")
HOWS = ("kill", "torn write", "power cut")


class Operations:
    """From here on every operation of this process on files is counted, and one of them is its last."""

    def __init__(self, fatal: int = 0, how: str = "kill"):
        """Count, and just before operation number `fatal` die.

        Args:
            how: `torn write`: if the operation is a write, half of its bytes are written first; `power cut`: every byte
                that was not synced is lost, though names are kept, which is the worst order a file system may choose.
        """
        self.count = 0
        self._fatal = fatal
        self._how = how
        self._original = {name: getattr(os, name) for name in OPERATIONS}
        self._duplicate = os.dup
        self._unsynced: dict[int, tuple[int, int]] = {}
        """inode: a descriptor, and the bytes that are on disk"""
        for name in OPERATIONS:
            setattr(os, name, self._wrapped(name))

    def _wrapped(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self._fatal:
                self._die(name, args)
            if name == "write":
                status = os.fstat(args[0])
                if status.st_ino not in self._unsynced:
                    self._unsynced[status.st_ino] = self._duplicate(args[0]), status.st_size
            if name == "fsync":
                self._unsynced.pop(os.fstat(args[0]).st_ino, None)
            return self._original[name](*args, **kwargs)

        return call

    def _die(self, name: str, args: tuple[Any, ...]) -> None:
        if name == "write" and self._how == "torn write":
            self._original["write"](args[0], args[1][: len(args[1]) // 2])
        if self._how == "power cut":
            for descriptor, on_disk in self._unsynced.values():
                self._original["ftruncate"](descriptor, on_disk)
        os.kill(os.getpid(), signal.SIGKILL)
