"""`accelerate launch` under a process that hands requests to stop on to the ranks and brings their exit codes back.

Left alone, the launcher turns every exit code into 1 and adds a traceback; told to stop it gives the ranks 30 s, and
started with one process it ends and leaves that one behind. So it runs where no signal reaches it, in a session of its
own. What it starts ends with it, it ends with the supervisor, and what is left of both is adopted and killed.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from gpt.runner.launch.exit_codes import BAD_INPUT, RANK_LOST, STOPPED
from gpt.runner.launch.process_tree import adopt_orphans, descendants, kill_descendants, signal_at_end_of_parent
from gpt.runner.launch.rank_registry import VARIABLE, RankEntry, RankRegistry
from gpt.runner.launch.signals import STOP_SIGNALS, Stop, stop_on_signals

POLL_SECONDS = 0.2
LAUNCHERS_OWN = (
    "ACCELERATE_", "FSDP_", "GROUP_", "LOCAL_", "MASTER_", "MEGATRON_LM_", "PARALLELISM_CONFIG_", "PET_", "RANK",
    "ROLE_", "TORCHELASTIC_", "WORLD_SIZE",
)  # fmt: skip
"""how the variables begin that accelerate and torchrun set for what they start"""
OTHER_MACHINES_SECONDS = 2.0
"""for ranks of other machines to hear, through this launcher's store, that the input is bad"""


def launcher_command(file: Path, ranks: int | None, options: Sequence[str], command: Sequence[str]) -> list[str]:
    """What starts the ranks: `accelerate launch` with a config file, its options, and gpt's own command."""
    number = [] if ranks is None else ["--num_processes", str(ranks)]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file)]
    return [*launcher, *number, *options, "-m", "gpt", *command]


def without_launchers(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what another launcher, or a user for another program, has set: a launch file decides."""
    return {name: value for name, value in environment.items() if not name.startswith(LAUNCHERS_OWN)}


def supervise(command: Sequence[str], grace: float) -> int:
    """Start a launcher and wait for its ranks on this machine, which are gone afterwards, however they end.

    Args:
        command: of the launcher, see `launcher_command`.
        grace: seconds that ranks have to end after they were told to stop; then they are killed.

    Returns:
        The exit code of gpt of the lowest rank here. `STOPPED` also where ranks were killed after a request to stop;
        `RANK_LOST` where a rank ended without an exit code.
    """
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="gpt-launch-") as folder, stop_on_signals(*STOP_SIGNALS) as stop:
        print(f"gpt: starts {shlex.join(command)}", file=sys.stderr, flush=True)
        try:
            return Supervisor(command, RankRegistry(Path(folder)), stop, grace).wait()
        finally:
            kill_descendants(os.getpid())


class Supervisor:
    """A running launcher and the ranks that it has started on this machine."""

    def __init__(self, command: Sequence[str], registry: RankRegistry, stop: Stop, grace: float):
        self._registry = registry
        self._stop = stop
        self._grace = grace
        self._notified: set[int] = set()
        self._deadline = 0.0
        """0: no rank was told to stop"""
        self._ended: int | None = None
        """exit code of the launcher"""
        registry.open()
        # torchrun would take the signals that are ignored for it
        environment = without_launchers(os.environ) | {
            VARIABLE: str(registry.folder),
            "PET_SIGNALS_TO_HANDLE": "SIGQUIT",
        }
        supervisor = os.getpid()

        def follow_the_supervisor() -> None:
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            signal_at_end_of_parent(signal.SIGKILL)
            if os.getppid() != supervisor:
                os._exit(RANK_LOST)

        self._launcher = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=follow_the_supervisor,
        )

    def wait(self) -> int:
        """Wait until nothing of the launch is left; see `supervise`."""
        while self._runs():
            ranks = self._registry.read()
            if any(entry.code == BAD_INPUT for entry in ranks.values()):
                if any(entry.world > entry.ranks for entry in ranks.values()):
                    self._wait_for_other_machines()
                return BAD_INPUT
            if self._stop.interrupts > 1:  # a person who asks twice does not want to wait for checkpoints
                return STOPPED
            if self._stop() and not ranks:
                _say("stopped before any rank had begun")
                return STOPPED
            if self._stop() or self._ended is not None:
                self._notify(ranks)
                if time.monotonic() > self._deadline:
                    self._report_late_ranks(ranks)
                    return STOPPED if self._stop() else RANK_LOST
            time.sleep(POLL_SECONDS)
        return self._exit_code(self._registry.read())

    def _runs(self) -> bool:
        """Whether a process of the launch has not ended."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:  # an adopted orphan is waited for too
                if ended[0] == self._launcher.pid:
                    self._ended = self._launcher.returncode = os.waitstatus_to_exitcode(ended[1])
                    if self._ended < 0:
                        _say(f"the launcher {_describe_exit(self._ended)}")
        return self._ended is None or bool(descendants(os.getpid()))

    def _notify(self, ranks: Mapping[int, RankEntry]) -> None:
        """Ask each rank once to stop; the launcher's end is such a request too."""
        if not self._deadline:
            self._deadline = time.monotonic() + self._grace
        alive = set(descendants(os.getpid()))
        for entry in ranks.values():
            if entry.pid in alive - self._notified and entry.code is None:
                if not self._notified:
                    _say(f"the ranks are told to stop and have {self._grace:g} s to save and end")
                self._notified.add(entry.pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(entry.pid, signal.SIGTERM)

    def _report_late_ranks(self, ranks: Mapping[int, RankEntry]) -> None:
        alive = set(descendants(os.getpid()))
        late = [f"rank {rank}" for rank, entry in ranks.items() if entry.pid in alive]
        for who in late or ["the launch"]:
            _say(f"{who} is killed: it has not ended {self._grace:g} s after it was told to stop")

    def _wait_for_other_machines(self) -> None:
        deadline = time.monotonic() + OTHER_MACHINES_SECONDS
        while self._runs() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _exit_code(self, ranks: Mapping[int, RankEntry]) -> int:
        if any(entry.code == BAD_INPUT for entry in ranks.values()):
            return BAD_INPUT
        if not ranks:
            _say(f"no rank has begun: accelerate launch {_describe_exit(self._ended)}")
            return BAD_INPUT if self._ended == BAD_INPUT else RANK_LOST
        lost = [str(rank) for rank, entry in ranks.items() if entry.code is None]
        missing = max(entry.ranks for entry in ranks.values()) - len(ranks)
        if lost or missing:
            who = f"rank {' and '.join(lost)}" if lost else f"{missing} of the ranks"
            _say(f"{who} ended before the work did; the same command resumes from the last checkpoints")
            return RANK_LOST
        return next(entry.code for entry in ranks.values() if entry.code is not None)


def _describe_exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _say(what: str) -> None:
    with contextlib.suppress(OSError):  # a terminal that was closed: the ranks must stop cleanly all the same
        print(f"gpt: {what}", file=sys.stderr, flush=True)
