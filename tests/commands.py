"""The real command and the real launchers, in processes of their own that cannot outlive a test."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest

from gpt.cli import main
from gpt.records.run_folder import RunFolder
from gpt.runner.launch.signals import STOP_SIGNALS

GPT = [sys.executable, "-m", "gpt"]
BIN = Path(sys.executable).parent
LAUNCH = Path(__file__).parents[1] / "launch"
TOLD = (
    "ACCELERATE_",
    "TORCHELASTIC_",
    "SLURM_",
    "OMPI_",
    "OMP_",
    "PMI_",
    "MV2_",
    "RANK",
    "WORLD_",
    "LOCAL_",
    "MASTER_",
)
"""how the variables begin that launchers set"""
ROUNDING = 2e-5
"""of losses and of all numbers of the findings, relative to the larger of 1 and their size; 2.5e-7 was measured. Faster
learning rates would amplify the last bit to percents within these steps, without any ranks too"""
SERVER = "multiprocessing.forkserver"
"""what is in the command line of the process that ranks are forked from, and in theirs"""
MARK = "GPT_TEST_COMMAND"
"""variable that every process of one command inherits"""


class Command:
    """A running command, with all the processes that came of it, wherever they hang now."""

    def __init__(self, words: Sequence[str | Path], home: Path):
        self.mark = f"{MARK}={uuid.uuid4()}"
        self._log = home / f"{self.mark[-12:]}.txt"
        environment = {name: value for name, value in os.environ.items() if not name.startswith((*TOLD, MARK))}
        environment |= {"HOME": str(home), "HF_HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}"}
        environment |= {"PYTHONPATH": str(LAUNCH.parent), MARK: self.mark.partition("=")[2]}
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                list(map(str, words)),
                cwd=home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """Both streams so far."""
        return self._log.read_text()

    def wait(self, seconds: float = 120.0) -> int:
        """The exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end within {seconds:g} s:\n{self.said}") from None

    def running(self) -> dict[int, str]:
        """Every process of the command that is alive, oldest first, and its command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdecimal() and self.mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    began = int((entry / "stat").read_text().rpartition(")")[2].split()[19])
                    words = os.fsdecode((entry / "cmdline").read_bytes().replace(b"\0", b" "))
                    found[began, int(entry.name)] = words
            except OSError:  # ended since it was listed, or another user's
                continue
        return {pid: words for (_, pid), words in sorted(found.items())}

    def ranks(self) -> list[int]:
        """The processes that train, in the order of their ranks: forked from gpt's own server, or a launcher's."""
        running = self.running()
        own = re.compile(r"^\S*python\S* (-u )?(-m gpt|\S+\.py) ")
        forked = [
            pid for pid, words in running.items() if SERVER in words and SERVER in running.get(parent_of(pid), "")
        ]
        launched = [pid for pid, words in running.items() if own.search(words) and pid != self.process.pid]
        return forked or launched

    def leaves_nothing(self, seconds: float = 10.0) -> None:
        """Every process that came of the command ends soon."""
        deadline = time.monotonic() + seconds
        while left := self.running():
            assert time.monotonic() < deadline, f"still running: {left}\n{self.said}"
            time.sleep(0.05)

    def end(self) -> None:
        """Kill what is left."""
        while left := self.running():
            for pid in left:
                with _gone():
                    os.kill(pid, signal.SIGKILL)
            self.process.poll()
            time.sleep(0.02)
        self.process.wait()


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # has ended
        return 0


@contextmanager
def _gone() -> Iterator[None]:
    with suppress(ProcessLookupError):
        yield


@contextmanager
def started(words: Sequence[str | Path], home: Path) -> Iterator[Command]:
    """A command running in the folder `home`."""
    command = Command(words, home)
    try:
        yield command
    finally:
        command.end()


def run_command(words: Sequence[str | Path], home: Path, seconds: float = 120.0) -> tuple[int, str]:
    """Exit code and both streams of a command that has ended and left no process running."""
    with started(words, home) as command:
        code = command.wait(seconds)
        command.leaves_nothing()
        return code, command.said


def gpt(*words: object, home: Path) -> tuple[int, str]:
    """Exit code and both streams of gpt's own command, in this process: for claims that are not about processes.

    Its ranks come from the fork server that the first such command starts; what they say themselves is not seen.
    """
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    environment, said = dict(os.environ), io.StringIO()
    try:
        with chdir(home), redirect_stdout(said), redirect_stderr(said), pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
    finally:
        os.environ.clear()
        os.environ |= environment
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return int(ended.value.code or 0), said.getvalue()


def accelerate(file: str, *options: str) -> list[str | Path]:
    """`accelerate launch` of gpt with a shipped file."""
    return [BIN / "accelerate", "launch", "--config_file", LAUNCH / f"{file}.yaml", *options, "-m", "gpt"]


def launch(file: str, *options: str) -> list[str | Path]:
    """`gpt launch` of a shipped file."""
    return [*GPT, "launch", LAUNCH / f"{file}.yaml", *options]


def wait_for(condition: Callable[[], Any], command: Command, seconds: float = 60.0) -> None:
    """Wait until something holds while a command runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert command.process.poll() is None, f"ended before:\n{command.said}"
        assert time.monotonic() < end, f"waited in vain:\n{command.said}"
        time.sleep(0.02)


def runs_of(out: Path) -> list[RunFolder]:
    return [RunFolder(path) for path in sorted((out / "runs").iterdir())]


def rows_of(run: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


def layouts_of(run: RunFolder) -> list[dict[str, Any]]:
    return json.loads(run.run_json.read_text())["layouts"]


def records(out: Path) -> dict[str, bytes]:
    """What two runs of the same runs must share, byte for byte."""
    found = {}
    for run in runs_of(out):
        files = [run.metrics, run.events, run.samples, *sorted(run.probes.glob("*")), *sorted(run.model.iterdir())]
        found |= {str(file.relative_to(out)): file.read_bytes() for file in files}
        found[f"{run.root.name} weights"] = json.loads(run.run_json.read_text())["final_weights_sha256"].encode()
    return found


def furthest(out: Path, other: Path, key: str) -> float:
    """The largest difference of a metric between the same steps of the same runs, relative to 1 or its size."""
    worst = 0.0
    for run, same in zip(runs_of(out), runs_of(other), strict=True):
        assert run.root.name == same.root.name
        for row, twin in zip(rows_of(run), rows_of(same), strict=True):
            assert row.keys() == twin.keys()
            if key in row:
                worst = max(worst, abs(row[key] - twin[key]) / max(1.0, abs(row[key])))
    return worst


def check_layout(out: Path, engine: str, ranks: int, micro_batches: int, seeds_together: int | None = 1) -> None:
    """What the runs' own records say of the world they were computed in."""
    for run in runs_of(out):
        layout = layouts_of(run)[-1]
        assert (layout["engine"], layout["ranks"], layout["micro_batches"]) == (engine, ranks, micro_batches)
        assert seeds_together in (None, layout["seeds_together"])
