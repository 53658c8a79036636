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
SUPERVISOR = "supervisor"
"""the file with the number of the process that all ranks must descend from"""
PLACE = (("RANK", 0), ("LOCAL_WORLD_SIZE", 1), ("WORLD_SIZE", 1))
"""what a launcher tells a rank, and what holds where it does not"""
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


@dataclass(frozen=True)
class RankRegistry:
    """The folder, as the process that supervises the launch has it."""

    folder: Path

    def open(self) -> None:
        """Begin: all ranks must descend from this process."""
        (self.folder / SUPERVISOR).write_text(str(os.getpid()))

    def read(self) -> dict[int, RankEntry]:
        """The ranks of this machine that have begun, in their order."""
        entries = {}
        for file in sorted(self.folder.glob("*.begun"), key=lambda file: int(file.stem)):
            pid, ranks, world = map(int, file.read_text().split())
            code = file.with_suffix(".code")
            entries[int(file.stem)] = RankEntry(pid, ranks, world, int(code.read_text()) if code.exists() else None)
        return entries


@dataclass(frozen=True)
class RegisteredRank:
    """This process on the registry."""

    code: Path
    """file of its exit code"""

    def note(self, code: int) -> int:
        """Note the exit code of gpt; returns the one to end with, which gives the launcher nothing to complain of.

        After bad input the supervisor kills the launch; before that, this rank's end would set its launcher waiting for
        other machines whose launchers are gone.
        """
        write_atomic(self.code, str(code).encode())
        if code == BAD_INPUT:
            time.sleep(UNTIL_KILLED_SECONDS)
        return 0


def register_rank(environment: MutableMapping[str, str]) -> RegisteredRank | None:
    """Enter this process on the registry, if there is one; what an earlier attempt of the launcher noted goes.

    Requests to stop that come before it listens (`stop_on_signals`) are held back until it does, so that all ranks stop
    cleanly; without a launcher no process is left to wait for, and it ends at once.
    """
    if (name := environment.pop(VARIABLE, None)) is None:
        return None
    folder = Path(name)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    signal_at_end_of_parent(LAUNCHER_ENDED)
    supervisor = int((folder / SUPERVISOR).read_text())
    if os.getppid() == supervisor or not descends(os.getppid(), supervisor):  # the launcher is gone, or both are
        os._exit(RANK_LOST)
    rank, ranks, world = (int(environment.get(variable) or default) for variable, default in PLACE)
    entry = RegisteredRank(folder / f"{rank}.code")
    entry.code.unlink(missing_ok=True)
    write_atomic(folder / f"{rank}.begun", f"{os.getpid()} {ranks} {world}".encode())
    return entry
