"""Runs over ranks that a launcher started: `accelerate launch` or `torchrun`, on one machine or several."""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from gpt.errors import InputError
from gpt.fields import canonical
from gpt.runner.code_version import this_code
from gpt.runner.launch.accelerate import Launch
from gpt.runner.launch.exit_codes import RANK_LOST, end_process
from gpt.runner.launch.signals import LAUNCHER_ENDED, STOP_SIGNALS, parent_watch, stop_on_signals
from gpt.runner.layout import Layout
from gpt.runner.progress import Progress
from gpt.runner.ranks.group import RankPosition
from gpt.runner.ranks.heartbeat import BUSY, HeartbeatMonitor
from gpt.runner.ranks.local import POLL_SECONDS, Outcome, outcome, run_rank
from gpt.runner.stack import describe_stack
from gpt.runner.workspace import Workspace
from gpt.study.plan import PlannedRun

OTHERS_POLL_SECONDS = 0.1


def open_store(launch: Launch, timeout: float) -> dist.Store:
    """Where the ranks of a launch find each other."""
    hosts = launch.rank == 0 and not launch.agent_store
    limit = timedelta(seconds=timeout)
    store = dist.TCPStore(launch.address, launch.port, launch.world, hosts, limit, wait_for_workers=False)
    return dist.PrefixStore(f"gpt/{launch.attempt}", store)


def check_ranks_agree(
    launch: Launch,
    store: dist.Store,
    layout: Layout,
    seed_batches: Sequence[Sequence[PlannedRun]],
    workspace: Workspace,
) -> None:
    """Check what this rank is against rank 0, before anything is trained.

    Raises:
        InputError: names what differs and, of short things, rank and values; every rank raises the same.
    """
    about = {
        "processes": layout.processes,
        "ranks-per-run": layout.ranks_per_run,
        "engine": launch.engine,
        **describe_stack(workspace.device),
        "code": sorted({canonical(this_code().parts(run.config)) for seed_batch in seed_batches for run in seed_batch}),
        "runs": [[run.fingerprint for run in seed_batch] for seed_batch in seed_batches],
    }
    store.set(f"about/{launch.rank}", json.dumps(about))
    if launch.rank == 0:
        wrong = next((why for rank in range(1, launch.world) if (why := _difference(store, rank, about))), "")
        store.set("verdict", wrong or "go")
    try:
        verdict = store.get("verdict").decode()
    except dist.DistStoreError:
        verdict = "rank 0 did not come: all ranks of the launch must run the same command"
    if verdict != "go":
        raise InputError(verdict)


def _difference(store: dist.Store, rank: int, about: dict[str, Any]) -> str:
    try:
        other = json.loads(store.get(f"about/{rank}"))
    except dist.DistStoreError:
        return f"rank {rank} did not come: all ranks of the launch must run the same command"
    for key in {**about, **other}:
        theirs, own = other.get(key), about.get(key)
        if theirs != own:
            what = "" if key in ("code", "runs") else f" {theirs!r} on rank {rank}, {own!r} on rank 0"
            return f"ranks differ in {key}{what}; all ranks of a launch must be alike"
    return ""


def run_as_rank(
    launch: Launch,
    store: dist.Store,
    seed_batches: Sequence[Sequence[PlannedRun]],
    workspace: Workspace,
    layout: Layout,
    progress: Progress,
) -> Outcome:
    """Train, as one rank of a launch, what falls to its group; rank 0 waits for all the others.

    Returns:
        What became of all runs, as far as this rank knows: only rank 0 has seen every rank end.
    """
    with (
        stop_on_signals(*STOP_SIGNALS, LAUNCHER_ENDED, starter_is_alive=parent_watch()) as stop,
        _shown(progress, launch.rank == 0),
    ):
        position = RankPosition(launch.rank, launch.world, layout.ranks_per_run)
        stopped = run_rank(position, store, seed_batches, workspace, layout.timeout, stop) or stop()
        with contextlib.suppress(RuntimeError):  # the launcher and its store are gone; this rank has stopped for that
            if stopped:
                store.set("stopped", "")
            store.set(f"ended/{launch.rank}", "")
            if launch.rank == 0:
                _wait_for_others(store, launch.world, layout.timeout)
                stopped = stopped or store.check(["stopped"])
                return outcome(stopped, [run for seed_batch in seed_batches for run in seed_batch], workspace, store)
        return Outcome(stopped, [], 0)


def _wait_for_others(store: dist.Store, world: int, timeout: float) -> None:
    """Wait until every rank has ended; one that sends no heartbeat ends the launch."""
    monitor, others = HeartbeatMonitor(store, timeout), set(range(1, world))
    while others:
        for rank in sorted(others):
            if store.check([f"ended/{rank}"]):
                others.remove(rank)
            elif monitor.is_stale(rank):
                why = f"no heartbeat for {timeout:g} s ({BUSY})"
                print(f"gpt: rank {rank} of {world} was lost: {why}", file=sys.stderr)
                end_process(RANK_LOST)
        if others:
            time.sleep(OTHERS_POLL_SECONDS)


@contextlib.contextmanager
def _shown(progress: Progress, here: bool) -> Iterator[None]:
    """Follow the runs from a thread beside the training."""
    if not here:
        yield
        return
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(POLL_SECONDS):
            progress.update()

    thread = threading.Thread(target=follow, daemon=True)
    with progress:
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            progress.update()
