"""The registry of a supervised launch: a folder where each rank of this machine notes its process and its exit code.

Launchers turn every exit code of a rank into 1, and know no way to tell a rank to stop that leaves it the time to.
"""

import os
import signal
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from gpt.records.files import write_atomic
from gpt.runner.launch.exit_codes import BAD_INPUT, RANK_LOST
from gpt.runner.launch.process_tree import descends, signal_at_end_of_parent
from gpt.runner.launch.signals import LAUNCHER_ENDED, STOP_SIGNALS

VARIABLE = "GPT_RANK_REGISTRY"
"""names the folder to the ranks"""
UNTIL_KILLED_SECONDS = 10.0


@dataclass(frozen=True)
class RankEntry:
    """One rank, as the registry has it."""

    pid: int
    ranks: int
    """of this machine, itself included"""
    world: int
    """ranks of all machines"""
    code: int | None
    """of gpt; None: the rank runs, or died without noting one"""


class RankRegistry:
    """The folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def open(self, supervisor: int) -> None:
        """Begin, for the process that all ranks must descend from."""
        (self.folder / "supervisor").write_text(str(supervisor))

    def sign(self, rank: int, ranks: int, world: int) -> None:
        """Note that this process is a rank; an earlier attempt of the launcher is forgotten."""
        self._code(rank).unlink(missing_ok=True)
        write_atomic(self.folder / f"{rank}.begun", f"{os.getpid()} {ranks} {world}".encode())

    def note(self, rank: int, code: int) -> None:
        """Note the exit code that the rank would end with if it were not supervised."""
        write_atomic(self._code(rank), str(code).encode())

    def read(self) -> dict[int, RankEntry]:
        """The ranks of this machine that have begun, in their order."""
        entries = {}
        for file in sorted(self.folder.glob("*.begun"), key=lambda file: int(file.stem)):
            rank = int(file.stem)
            pid, ranks, world = map(int, file.read_text().split())
            code = int(self._code(rank).read_text()) if self._code(rank).exists() else None
            entries[rank] = RankEntry(pid, ranks, world, code)
        return entries

    def has_supervisor(self) -> bool:
        """Whether this process was started by a child of the process that opened the registry, and both are there."""
        supervisor = int((self.folder / "supervisor").read_text())
        return os.getppid() != supervisor and descends(os.getppid(), supervisor)

    def _code(self, rank: int) -> Path:
        return self.folder / f"{rank}.code"


@dataclass(frozen=True)
class RegisteredRank:
    """This process on the registry."""

    registry: RankRegistry
    rank: int

    def note(self, code: int) -> int:
        """Note the exit code of gpt; returns the one to end with, which gives the launcher nothing to complain of.

        After bad input the supervisor kills the launch; before that, this rank's end would set its launcher waiting for
        other machines whose launchers are gone.
        """
        self.registry.note(self.rank, code)
        if code == BAD_INPUT:
            time.sleep(UNTIL_KILLED_SECONDS)
        return 0


def register_rank(environment: MutableMapping[str, str]) -> RegisteredRank | None:
    """Enter this process on the registry, if there is one.

    Requests to stop that come before it listens (`stop_on_signals`) are held back until it does, so that all ranks stop
    cleanly; without a launcher no process is left to wait for, and it ends at once.
    """
    folder = environment.pop(VARIABLE, None)
    if folder is None:
        return None
    registry = RankRegistry(Path(folder))
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    signal_at_end_of_parent(LAUNCHER_ENDED)
    if not registry.has_supervisor():
        os._exit(RANK_LOST)
    rank = int(environment.get("RANK") or 0)
    registry.sign(rank, int(environment.get("LOCAL_WORLD_SIZE") or 1), int(environment.get("WORLD_SIZE") or 1))
    return RegisteredRank(registry, rank)
