"""Runs over worker processes on this machine, watched until all of them have ended."""

import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
import torch.distributed as dist

from gpt.plugins import load_plugin, loaded_plugins
from gpt.runner.launch.exit_codes import RANK_LOST, end_process
from gpt.runner.launch.signals import LAUNCHER_ENDED, STOP_SIGNALS, stop_on_signals
from gpt.runner.layout import Layout
from gpt.runner.progress import Progress
from gpt.runner.ranks.fork_server import CONTEXT, command_is_alive, start_fork_server
from gpt.runner.ranks.group import RankGroup, RankLostError, RankPosition, backend_for, held_key
from gpt.runner.ranks.heartbeat import BUSY, HeartbeatMonitor, send_heartbeats
from gpt.runner.worker import work
from gpt.runner.workspace import Workspace
from gpt.study.folder import run_at
from gpt.study.plan import PlannedRun

POLL_SECONDS = 0.5
"""longest time between two looks at the runs' states"""
PEERS_SECONDS = 10.0
"""time that the other ranks of a group have to notice that one has died, before they are killed"""
CONNECT_SECONDS = 10.0
"""time to reach the store of the process that starts the ranks, which is there before them"""


@dataclass(frozen=True)
class Outcome:
    """What became of the runs."""

    stopped: bool
    """a signal asked for an end before everything was done"""
    unfinished: list[tuple[PlannedRun, str]]
    """each run that could not be done, and why"""
    elsewhere: int
    """runs that other commands had when this one came to them, and have not finished yet"""


def run_locally(
    seed_batches: Sequence[Sequence[PlannedRun]], workspace: Workspace, layout: Layout, progress: Progress
) -> Outcome:
    """Train all unfinished runs in processes of this one, one rank each.

    They end when this process does, however it does.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = loaded_plugins(), seed_batches, workspace, layout, store.port
    workers = [CONTEXT.Process(target=_rank, args=(*shared, rank), daemon=True) for rank in range(layout.processes)]
    with stop_on_signals(*STOP_SIGNALS, LAUNCHER_ENDED) as stop, progress:
        start_fork_server()
        for worker in workers:
            worker.start()
        died: dict[int, float] = {}
        monitor = HeartbeatMonitor(store, layout.timeout)
        asked_at = 0.0
        while any(worker.is_alive() for worker in workers):
            if stop() and not asked_at:
                _each(workers, BaseProcess.terminate)
                asked_at = time.monotonic()
            if stop.interrupts > 1:  # a person who asks twice does not want to wait for checkpoints
                _each(workers, BaseProcess.kill)
            late = asked_at and time.monotonic() - asked_at > layout.timeout
            for rank, worker in enumerate(workers):
                if worker.is_alive() and late:
                    _kill(rank, worker, f"it has not ended {layout.timeout:g} s after it was told to stop")
                elif worker.is_alive() and monitor.is_stale(rank):
                    _kill(rank, worker, f"no heartbeat for {layout.timeout:g} s ({BUSY})")
            _end_groups_of_the_dead(workers, layout.ranks_per_run, died)
            progress.update()
            connection.wait([worker.sentinel for worker in workers if worker.is_alive()], POLL_SECONDS)
        progress.update()
    codes = sorted({worker.exitcode for worker in workers if worker.exitcode})
    return outcome(stop(), [run for seed_batch in seed_batches for run in seed_batch], workspace, store, codes)


def _rank(
    plugins: Sequence[tuple[Path, str]],
    seed_batches: Sequence[Sequence[PlannedRun]],
    workspace: Workspace,
    layout: Layout,
    port: int,
    rank: int,
) -> None:
    for file, text in plugins:
        load_plugin(file, text)
    torch.set_num_threads(layout.threads)
    workspace = replace(workspace, device=device_of(workspace.device, rank))
    if not command_is_alive():  # killed while this one was starting
        end_process(RANK_LOST)
    store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=CONNECT_SECONDS))
    store.set_timeout(timedelta(seconds=layout.timeout))
    with stop_on_signals(signal.SIGTERM, signal.SIGUSR1, starter_is_alive=command_is_alive) as stop:
        run_rank(
            RankPosition(rank, layout.processes, layout.ranks_per_run),
            store,
            seed_batches,
            workspace,
            layout.timeout,
            stop,
        )
    end_process(0)


def run_rank(
    position: RankPosition,
    store: dist.Store,
    seed_batches: Sequence[Sequence[PlannedRun]],
    workspace: Workspace,
    timeout: float,
    stop: Callable[[], bool],
) -> bool:
    """Do this process's share; where its group cannot continue, say so and exit with `RANK_LOST`.

    Returns:
        Whether the group has stopped on request, to whichever of its ranks that came.
    """
    group = RankGroup(position, store, backend_for(workspace.device), timeout, stop)
    try:
        with send_heartbeats(store, position.rank):
            _work(seed_batches, workspace, group, stop)
    except RankLostError as lost:
        print(f"gpt: rank {position.rank}: {lost}", file=sys.stderr)
        end_process(RANK_LOST)
    return group.stopped


def _work(
    seed_batches: Sequence[Sequence[PlannedRun]], workspace: Workspace, group: RankGroup, stop: Callable[[], bool]
) -> None:
    try:
        work(seed_batches, workspace, group, stop)
    except RankLostError:
        raise
    except Exception as error:  # between two seed batches, so that no run is to blame
        failure = group.abort(error)
        raise RankLostError(f"{failure.why}\n{failure.trace}") from error


def device_of(device: torch.device, number: int) -> torch.device:
    """The GPU that belongs to the process of this number on its machine; where there are more processes, they share."""
    if device.type == "cpu":
        return device
    own = torch.device("cuda", number % torch.cuda.device_count())
    torch.cuda.set_device(own)
    return own


def _end_groups_of_the_dead(workers: Sequence[BaseProcess], ranks_per_run: int, died: dict[int, float]) -> None:
    """Kill what is left of a group some time after one of its ranks died; a rank may be stopped and never notice."""
    for rank, worker in enumerate(workers):
        group = rank // ranks_per_run
        if worker.exitcode and time.monotonic() - died.setdefault(group, time.monotonic()) > PEERS_SECONDS:
            _each(workers[group * ranks_per_run : (group + 1) * ranks_per_run], BaseProcess.kill)


def _kill(rank: int, worker: BaseProcess, why: str) -> None:
    print(f"gpt: rank {rank} is killed: {why}", file=sys.stderr, flush=True)
    worker.kill()


def _each(workers: Sequence[BaseProcess], end: Callable[[BaseProcess], None]) -> None:
    for worker in workers:
        if worker.is_alive():
            end(worker)


def outcome(
    stopped: bool, runs: Sequence[PlannedRun], workspace: Workspace, store: dist.Store, codes: Sequence[int] = ()
) -> Outcome:
    """What has become of the runs now that nothing is left to take.

    Args:
        store: the ranks', where they noted what others had.
        codes: exit codes of ranks that died.
    """
    left, elsewhere = [], 0
    for planned in runs:
        status = run_at(workspace.out, planned.fingerprint).read_status()
        if status.finished:
            continue
        if status.state != "failed" and store.check([held_key(planned.fingerprint)]):
            elsewhere += 1
            continue
        ended = f"a process ended with code {', '.join(map(str, codes))}" if codes else "it could not be taken"
        left.append((planned, status.why if status.state in ("failed", "preempted") else ended))
    return Outcome(stopped, left, elsewhere)
