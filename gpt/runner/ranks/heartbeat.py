"""A heartbeat from every rank, so that one that hangs as a whole (stopped, swapped out, cut off) is not waited for.

A thread beats while the process runs, whatever the training does: silence says that the process does not run, and not
that a step takes long.
"""

import contextlib
import threading
import time
from collections.abc import Iterator

import torch.distributed as dist

HEARTBEAT_SECONDS = 1.0
BUSY = "where a machine is so busy that processes starve, give a longer --timeout"
START_SECONDS = 120.0
"""time that a process has to load what it needs before its silence means anything"""


@contextlib.contextmanager
def send_heartbeats(store: dist.Store, rank: int) -> Iterator[None]:
    """Beat until left."""
    ended = threading.Event()
    # a connection of its own: one that waits for a key would hold the beats back
    own: dist.Store = store.clone()  # type: ignore[attr-defined]  # missing in torch's stubs

    def beat() -> None:
        with contextlib.suppress(RuntimeError):  # the store is gone, and with it the listener
            while not ended.wait(HEARTBEAT_SECONDS):
                own.add(_key(rank), 1)

    own.add(_key(rank), 1)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class HeartbeatMonitor:
    """Listens to the heartbeats of ranks; a process that asks often enough learns which have stopped."""

    def __init__(self, store: dist.Store, timeout: float):
        self._store = store
        self._timeout = timeout
        self._heard: dict[int, tuple[int, float]] = {}

    def is_stale(self, rank: int) -> bool:
        """Whether a rank has not beaten for the timeout, or not begun to within `START_SECONDS`."""
        now, beats = time.monotonic(), self._store.add(_key(rank), 0)
        before, since = self._heard.get(rank, (-1, now))
        if beats != before:
            since = now
        self._heard[rank] = (beats, since)
        return now - since > (self._timeout if beats else max(self._timeout, START_SECONDS))


def _key(rank: int) -> str:
    return f"heartbeat/{rank}"
