"""Cells over worker processes on this machine, watched until all of them have ended."""

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

import torch

from gpt.runner.pack import Place
from gpt.runner.progress import Progress
from gpt.runner.worker import stop_on_signals, work
from gpt.study.folder import cell_at
from gpt.study.plan import PlannedCell

POLL_SECONDS = 0.5
"""time between two looks at the cells' states"""


@dataclass(frozen=True)
class Outcome:
    """What became of the cells."""

    stopped: bool
    """a signal asked for an end before everything was done"""
    unfinished: list[tuple[PlannedCell, str]]
    """each cell that is neither done nor diverged, and why"""


def run_cells(cells: Sequence[PlannedCell], place: Place, processes: int, threads: int, progress: Progress) -> Outcome:
    """Train all unfinished cells in up to `processes` workers of `threads` threads each.

    Workers end when this process does, however it does.
    """
    waiting = [c for c in cells if not cell_at(place.out, c.fingerprint).finished]
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_worker, args=(waiting, place, threads, os.getpid()), daemon=True)
        for _ in range(min(processes, len(waiting)))
    ]
    with stop_on_signals(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as stop, progress:
        _start(workers)
        passed_on = False
        while any(worker.is_alive() for worker in workers):
            if stop() and not passed_on:
                _terminate(workers)
                passed_on = True
            progress.update()
            time.sleep(POLL_SECONDS)
        progress.update()
    died = sorted({worker.exitcode for worker in workers if worker.exitcode})
    return Outcome(stop(), _unfinished(cells, place, [code for code in died if code is not None]))


def _start(workers: Sequence[BaseProcess]) -> None:
    """Start workers that never see Ctrl-C, which a terminal sends to all: this process passes the request on."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for worker in workers:
            worker.start()
    finally:
        signal.signal(signal.SIGINT, handler)


def _worker(cells: Sequence[PlannedCell], place: Place, threads: int, parent: int) -> None:
    torch.set_num_threads(threads)
    with stop_on_signals(signal.SIGTERM, parent=parent) as stop:
        work(cells, place, stop)


def _terminate(workers: Sequence[BaseProcess]) -> None:
    for worker in workers:
        if worker.is_alive():
            worker.terminate()


def _unfinished(cells: Sequence[PlannedCell], place: Place, died: list[int]) -> list[tuple[PlannedCell, str]]:
    left = []
    for planned in cells:
        status = cell_at(place.out, planned.fingerprint).read_status()
        if status.state in ("done", "diverged"):
            continue
        ended = f"its worker ended with code {', '.join(map(str, died))}" if died else "another process holds it"
        left.append((planned, status.why if status.state in ("failed", "preempted") else ended))
    return left
