"""Cells over worker processes on this machine, watched until all of them have ended."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.process import BaseProcess

import torch
import torch.distributed as dist

from gpt.runner.launch.exit_codes import RANK_LOST
from gpt.runner.launch.signals import LAUNCHER_ENDED, STOP_SIGNALS, stop_on_signals
from gpt.runner.layout import Layout
from gpt.runner.progress import Progress
from gpt.runner.ranks.group import RankLostError, Row, Seat, backend_for, end_process, held_key
from gpt.runner.ranks.heartbeat import BUSY, Watch, beating
from gpt.runner.worker import work
from gpt.runner.workspace import Place
from gpt.study.folder import cell_at
from gpt.study.plan import PlannedCell

POLL_SECONDS = 0.5
"""time between two looks at the cells' states"""
MATES_SECONDS = 10.0
"""time that the other ranks of a row have to notice that one has died, before they are killed"""
CONNECT_SECONDS = 10.0
"""time to reach the store of the process that starts the ranks, which is there before them"""


@dataclass(frozen=True)
class Outcome:
    """What became of the cells."""

    stopped: bool
    """a signal asked for an end before everything was done"""
    unfinished: list[tuple[PlannedCell, str]]
    """each cell that could not be done, and why"""
    elsewhere: int
    """cells that other commands had when this one came to them, and have not finished yet"""


def run_cells(packs: Sequence[Sequence[PlannedCell]], place: Place, layout: Layout, progress: Progress) -> Outcome:
    """Train all unfinished cells in processes of this one, one rank each.

    They end when this process does, however it does.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_rank, args=(packs, place, layout, rank, store.port, os.getpid()), daemon=True)
        for rank in range(layout.processes)
    ]
    with stop_on_signals(*STOP_SIGNALS, LAUNCHER_ENDED) as stop, progress:
        _start(workers)
        died: dict[int, float] = {}
        watch = Watch(store, layout.timeout)
        told = 0.0
        while any(worker.is_alive() for worker in workers):
            if stop() and not told:
                _each(workers, BaseProcess.terminate)
                told = time.monotonic()
            if stop.interrupts > 1:  # whoever asks twice does not want to wait for checkpoints
                _each(workers, BaseProcess.kill)
            late = told and time.monotonic() - told > layout.timeout
            for rank, worker in enumerate(workers):
                if worker.is_alive() and late:
                    _kill(rank, worker, f"it has not ended {layout.timeout:g} s after it was told to stop")
                elif worker.is_alive() and watch.silent(rank):
                    _kill(rank, worker, f"no sign of life for {layout.timeout:g} s ({BUSY})")
            _end_rows_of_the_dead(workers, layout.ranks_per_run, died)
            progress.update()
            time.sleep(POLL_SECONDS)
        progress.update()
    codes = sorted({worker.exitcode for worker in workers if worker.exitcode})
    return outcome(stop(), [cell for pack in packs for cell in pack], place, store, codes)


def _start(workers: Sequence[BaseProcess]) -> None:
    """Start workers that do not see what reaches a whole group of processes: this one passes it on."""
    ignored = set(STOP_SIGNALS) - {signal.SIGTERM}
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    try:
        for worker in workers:
            worker.start()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _rank(
    packs: Sequence[Sequence[PlannedCell]], place: Place, layout: Layout, rank: int, port: int, parent: int
) -> None:
    torch.set_num_threads(layout.threads)
    place = replace(place, device=device_of(place.device, rank))
    if os.getppid() != parent:  # killed while this one was starting
        end_process(RANK_LOST)
    store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=CONNECT_SECONDS))
    store.set_timeout(timedelta(seconds=layout.timeout))
    with stop_on_signals(signal.SIGTERM, signal.SIGUSR1, parent=parent) as stop:
        be_rank(Seat(rank, layout.processes, layout.ranks_per_run), store, packs, place, layout.timeout, stop)
    end_process(0)


def be_rank(
    seat: Seat,
    store: dist.Store,
    packs: Sequence[Sequence[PlannedCell]],
    place: Place,
    timeout: float,
    stop: Callable[[], bool],
) -> bool:
    """Do this process's share; where its row cannot go on, say so and exit with `RANK_LOST`.

    Returns:
        Whether the row has stopped on request, to whichever of its ranks that came.
    """
    row = Row(seat, store, backend_for(place.device), timeout, stop)
    try:
        with beating(store, seat.rank):
            _work(packs, place, row, stop)
    except RankLostError as lost:
        print(f"gpt: rank {seat.rank}: {lost}", file=sys.stderr)
        end_process(RANK_LOST)
    return row.stopped


def _work(packs: Sequence[Sequence[PlannedCell]], place: Place, row: Row, stop: Callable[[], bool]) -> None:
    try:
        work(packs, place, row, stop)
    except RankLostError:
        raise
    except Exception as error:  # between two packs, so that no cell is to blame
        fall = row.break_up(error)
        raise RankLostError(f"{fall.why}\n{fall.trace}") from error


def device_of(device: torch.device, number: int) -> torch.device:
    """The GPU that belongs to the process of this number on its machine; where there are more processes, they share."""
    if device.type == "cpu":
        return device
    own = torch.device("cuda", number % torch.cuda.device_count())
    torch.cuda.set_device(own)
    return own


def _end_rows_of_the_dead(workers: Sequence[BaseProcess], ranks_per_run: int, died: dict[int, float]) -> None:
    """Kill what is left of a row some time after one of its ranks died; a rank may be stopped and never notice."""
    for rank, worker in enumerate(workers):
        row = rank // ranks_per_run
        if worker.exitcode and time.monotonic() - died.setdefault(row, time.monotonic()) > MATES_SECONDS:
            _each(workers[row * ranks_per_run : (row + 1) * ranks_per_run], BaseProcess.kill)


def _kill(rank: int, worker: BaseProcess, why: str) -> None:
    print(f"gpt: rank {rank} is killed: {why}", file=sys.stderr, flush=True)
    worker.kill()


def _each(workers: Sequence[BaseProcess], end: Callable[[BaseProcess], None]) -> None:
    for worker in workers:
        if worker.is_alive():
            end(worker)


def outcome(
    stopped: bool, cells: Sequence[PlannedCell], place: Place, store: dist.Store, codes: Sequence[int] = ()
) -> Outcome:
    """What has become of the cells now that nothing is left to take.

    Args:
        store: the ranks', where they noted what others had.
        codes: exit codes of ranks that died.
    """
    left, elsewhere = [], 0
    for planned in cells:
        status = cell_at(place.out, planned.fingerprint).read_status()
        if status.finished:
            continue
        if status.state != "failed" and store.check([held_key(planned.fingerprint)]):
            elsewhere += 1
            continue
        ended = f"a process ended with code {', '.join(map(str, codes))}" if codes else "it could not be taken"
        left.append((planned, status.why if status.state in ("failed", "preempted") else ended))
    return Outcome(stopped, left, elsewhere)
