"""The process that syncs: it follows the runs' files and tells W&B what is new.

It reads records and writes nothing but its own folder, so whatever happens to it happens to the sync alone. It is
told what to do by one line on its standard input, and to come to an end by that input's end, which also comes when the
process that started it is gone.
"""

import fcntl
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from gpt.errors import InputError
from gpt.records.files import make_folder
from gpt.study.folder import StudyFolder
from gpt.wandb_sync.rows import Row, RowReader
from gpt.wandb_sync.run import LiveRun, UnreachableError, check_account, send_report, start_again
from gpt.wandb_sync.targets import RESTING, Destination, WandbTarget

POLL_SECONDS = 2.0
"""time between two polls of the runs"""
RETRY_SECONDS = 30.0
"""time that a server which could not be reached is left alone"""
LIVE_RUNS = 16
"""W&B runs that are open at a time; further runs are sent when they end, or when one of these has"""
READY = "ready"
BROKEN, NOT_REACHED = 1, 3


class FollowedRun:
    """A run on its way into W&B."""

    def __init__(self, target: WandbTarget, destination: Destination):
        self.target = target
        self._destination = destination
        self._cursor = destination.read_cursor(target)
        self.drop()

    def drop(self) -> None:
        """Begin again from what has surely arrived; what the server has beyond that, it will not take twice."""
        self._rows = RowReader(self.target.folder.metrics, self._cursor.through)
        self._run: LiveRun | None = None
        self._waiting: list[Row] = []

    @property
    def live(self) -> bool:
        return self._run is not None

    def poll(self, last: bool, room: bool, beat: Callable[[], None]) -> None:
        """Send what is new, and close the run of a run that rests or is polled for the last time.

        Args:
            last: there will be no other poll.
            room: another run may stay open.

        Raises:
            UnreachableError: no run could be opened.
            InputError: a record is corrupt.
        """
        run = self.target.folder
        if self._cursor.ended:
            return
        status = run.read_status()
        if status.state == "planned" or not run.run_json.exists():
            return
        finished, closing = status.finished, last or status.state in RESTING
        if self._run is None and not (room or closing):
            return
        self._waiting += self._rows.new(finished)
        if self._run is None:
            if not self._waiting and not (closing and asdict(status) != self._cursor.status):
                return
            self._run = LiveRun(self.target, self._destination.mode)
            self._waiting = [row for row in self._waiting if row["step"] > self._run.through]
        self._run.send(self._waiting, finished, beat)
        self._waiting.clear()
        if closing:
            self._run.close(status)
            self._run = None
            self._destination.write_cursor(self.target, self._rows.through, status)
            self._cursor = self._destination.read_cursor(self.target)
            beat()


class Follower:
    """All runs of a destination; projects that another sync is at work on are left to it while it is."""

    def __init__(self, destination: Destination, beat: Callable[[], None]):
        self._destination = destination
        self._beat = beat
        self._runs: list[FollowedRun] = []
        self._find_runs()
        self._locks: dict[str, int] = {}
        self._left: set[str] = set()
        self._corrupt: set[FollowedRun] = set()
        self._retry_at = 0.0

    def poll(self, last: bool) -> None:
        """Send what is new of every run, and at the end the reports.

        Raises:
            Exception: whatever W&B's library raises at the last poll; at others it is left alone for a while.
        """
        if not last and time.monotonic() < self._retry_at:
            return
        try:
            self._find_runs()
            live = sum(run.live for run in self._runs)
            for run in self._runs:
                if run not in self._corrupt and self._has(run.target.project):
                    before = run.live
                    self._poll(run, last, room=live < LIVE_RUNS)
                    live += run.live - before
            for study in self._destination.studies if last else ():
                self._report(study)
        except Exception as error:  # W&B's library may raise anything, and the sync tries again
            if last:
                raise
            say(f"next try in {RETRY_SECONDS:g} s: {type(error).__name__}: {error}")
            start_again()
            for run in self._runs:
                run.drop()
            self._retry_at = time.monotonic() + RETRY_SECONDS

    def _find_runs(self) -> None:
        """Follow what the studies have planned since: what comes after the trials is known once they are finished."""
        followed = {(run.target.project, run.target.folder.root) for run in self._runs}
        self._runs += [
            FollowedRun(target, self._destination)
            for target in self._destination.iter_runs()
            if (target.project, target.folder.root) not in followed
        ]

    def _poll(self, run: FollowedRun, last: bool, room: bool) -> None:
        try:
            run.poll(last, room, self._beat)
        except InputError as error:  # the record of one run is no reason to leave out the others
            say(f"left out: {error}")
            self._corrupt.add(run)

    def _report(self, study: str) -> None:
        project = self._destination.project or study
        if self._has(project) and (sha256 := self._destination.new_report(study)):
            folder = StudyFolder(self._destination.out, study).report
            send_report(folder, study, project, self._destination.mode)
            self._destination.write_report_cursor(study, sha256)
            self._beat()

    def _has(self, project: str) -> bool:
        """Whether this process alone is at work on a project, from now to its end."""
        if project in self._locks:
            return True
        make_folder(self._destination.folder(project))
        descriptor = os.open(self._destination.folder(project) / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if project not in self._left:
                say(f"project {project} is left to the sync that is at work on it ({error.strerror})")
                self._left.add(project)
            return False
        self._locks[project] = descriptor
        return True


class Alarm:
    """Ends this process, and W&B's service with it, when it was told to end and shows no progress any more."""

    def __init__(self, patience: float, total: float):
        """
        Args:
            patience: seconds without progress.
            total: seconds in all, from when it was told to end.
        """
        self.ended = threading.Event()
        self._patience, self._total = patience, total
        self._life = time.monotonic()

    def beat(self) -> None:
        self._life = time.monotonic()

    def watch(self, orders: IO[str]) -> None:
        """Wait for the end of the orders, then for the end of everything; runs in a thread of its own."""
        orders.read()
        self.ended.set()
        began = self._life = time.monotonic()
        while time.monotonic() < min(began + self._total, self._life + self._patience):
            time.sleep(0.2)
        say("given up: W&B takes nothing any more")
        os._exit(NOT_REACHED)


def say(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Obey the orders on standard input; answer `ready`, or what is wrong, on standard output."""
    orders: dict[str, Any] = json.loads(sys.stdin.readline())
    alarm = Alarm(orders.pop("patience"), orders.pop("total"))
    destination = Destination(Path(orders.pop("out")), **orders)
    answer = READY
    if destination.mode == "online":
        try:
            check_account()
        except UnreachableError as error:
            answer = str(error)
    print(answer, flush=True)
    if answer != READY:
        return NOT_REACHED
    os.nice(19)  # from here on, training goes first
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: alarm.ended.set())
    threading.Thread(target=alarm.watch, args=(sys.stdin,), daemon=True).start()
    follower = Follower(destination, alarm.beat)
    while True:
        last = alarm.ended.wait(POLL_SECONDS)
        try:
            follower.poll(last)
        except UnreachableError as error:
            say(f"given up: {error}")
            sys.stderr.flush()
            os._exit(NOT_REACHED)  # W&B's library would try on
        except Exception:  # whatever goes wrong in W&B's library, which could keep a process that ends cleanly
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(BROKEN)
        if last:
            return 0


if __name__ == "__main__":
    sys.exit(main())
