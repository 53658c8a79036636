"""How runs are spread over processes: groups of ranks, seed batches."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from gpt.errors import InputError
from gpt.fields import canonical, flatten
from gpt.runner.launch.accelerate import Launch
from gpt.study.plan import PlannedRun
from gpt.train.engines.kinds import DEFAULT, EngineKind, engine_kinds
from gpt.train.engines.micro_batches import micro_batches
from gpt.train.engines.ranks import Ranks
from gpt.train.engines.step_modes import check_step

LONGEST_TIMEOUT = 86_400
"""seconds"""
MOST_THREADS = 1024
"""more than that many torch may not survive to start"""
LARGEST_SEED_BATCH = 32
"""seeds that `auto` trains together at most where nothing is measured"""

PickSeeds = Callable[[int, int], int]
"""how many seeds train together: at most the first number, in so many groups at once"""


@dataclass(frozen=True)
class Layout:
    """W processes in W / R groups of R; a group trains one seed batch at a time."""

    processes: int
    """W, all ranks"""
    ranks_per_run: int
    """R, the ranks that share a batch"""
    seeds_per_process: int
    threads: int
    """of each process"""
    timeout: float
    """seconds after which a rank that does not answer is given up"""

    @property
    def groups(self) -> int:
        return self.processes // self.ranks_per_run

    def __str__(self) -> str:
        words = [f"{self.processes} process{'es' if self.processes > 1 else ''}"]
        if self.ranks_per_run > 1:
            words.append(f"{self.ranks_per_run} for each run")
        if self.seeds_per_process > 1:
            words.append(f"up to {self.seeds_per_process} seeds together")
        return ", ".join(words)


@dataclass(frozen=True)
class LayoutOptions:
    """What the command line asks for."""

    processes: str
    """`auto` or a number"""
    ranks_per_run: int | None
    seeds_per_process: str
    """`auto` or a number"""
    threads: int
    timeout: float


def resolve_layout(
    options: LayoutOptions,
    runs: Sequence[PlannedRun],
    device: torch.device,
    launch: Launch | None,
    pick_seeds: PickSeeds | None = None,
) -> Layout:
    """The layout for these runs, on this machine or in this launch.

    Args:
        pick_seeds: says what `--seeds-per-process auto` is on a GPU; None where every rank has to know it by itself.

    Raises:
        InputError: names the option or field whose value does not fit.
    """
    check_threads(options.threads)
    if not 0 < options.timeout <= LONGEST_TIMEOUT:
        raise InputError(f"--timeout: got {options.timeout:g} seconds, must be above 0 and at most {LONGEST_TIMEOUT}")
    kind = engine_kinds()[launch.engine if launch else DEFAULT]
    ranks = _ranks_per_run(options.ranks_per_run, launch, kind)
    processes = launch.world if launch else _processes(options.processes, ranks, device)
    if launch and options.processes != "auto":
        raise InputError(f"--processes: got {options.processes}, must be left out: a launcher started {launch.world}")
    if processes % ranks:
        raise InputError(f"--ranks-per-run: got {ranks}, must divide the number of processes, {processes}")
    if device.type == "cuda" and ranks > 1 and launch is None and processes > torch.cuda.device_count():
        raise InputError(
            f"--processes: got {processes} for {torch.cuda.device_count()} GPUs; ranks that share a run need one each"
        )
    for run in runs:
        micro_batches(run.config, Ranks(0, ranks))
        kind.check(run.config)
        check_step(run.config, device, ranks)
    pick = pick_seeds if device.type == "cuda" and launch is None and ranks == 1 else None
    seeds = _seeds_per_process(options.seeds_per_process, runs, processes // ranks, device, pick)
    if launch is None:
        processes = ranks * max(1, min(processes // ranks, len(seed_batches_of(runs, seeds))))
    return Layout(processes, ranks, seeds, options.threads, options.timeout)


def check_threads(threads: int) -> None:
    """Refuse a number of threads that torch may not start.

    Raises:
        InputError: names the option.
    """
    if not 1 <= threads <= MOST_THREADS:
        raise InputError(f"--threads: got {threads}, must be at least 1 and at most {MOST_THREADS}")


def _ranks_per_run(given: int | None, launch: Launch | None, kind: EngineKind) -> int:
    ranks = given if given is not None else launch.world if launch and kind.sharded else 1
    if ranks < 1:
        raise InputError(f"--ranks-per-run: got {ranks}, must be at least 1")
    if launch and kind.sharded and ranks == 1 < launch.world:
        raise InputError(f"--ranks-per-run: got 1 with {kind.title}, which has something to share out from 2 on")
    return ranks


def _processes(given: str, ranks: int, device: torch.device) -> int:
    """What `--processes` asks for; `auto` is one for each GPU, else for each core, in whole groups."""
    if given == "auto":
        places = torch.cuda.device_count() if device.type == "cuda" else len(os.sched_getaffinity(0))
        return max(ranks, places - places % ranks)
    if not given.isdecimal() or int(given) < 1:
        raise InputError(f"--processes: got {given!r}, must be auto or a whole number from 1")
    return int(given)


def _seeds_per_process(
    given: str, runs: Sequence[PlannedRun], groups: int, device: torch.device, pick: PickSeeds | None
) -> int:
    """What `--seeds-per-process` asks for.

    `auto` is 1 on a CPU, where batching seeds gains nothing. On a GPU, where a small model leaves most of the chip
    idle, it is what was measured to be worth it, and no more than still give every group its share of the runs.
    """
    if given == "auto":
        if device.type != "cuda" or not runs:
            return 1
        alike = max(map(len, seed_batches_of(runs, len(runs))))
        share = min(alike, -(-len(runs) // groups))
        return pick(share, groups) if pick and share > 1 else min(LARGEST_SEED_BATCH, share)
    if not given.isdecimal() or int(given) < 1:
        raise InputError(f"--seeds-per-process: got {given!r}, must be auto or a whole number from 1")
    return int(given)


def seed_batches_of(runs: Sequence[PlannedRun], size: int) -> list[list[PlannedRun]]:
    """Runs that differ in nothing but the seed, at most `size` together; seed batches are in the order of their first
    runs.

    Args:
        runs: of any studies, each fingerprint once.
    """
    open_batches: dict[str, list[PlannedRun]] = {}
    seed_batches = []
    for run in runs:
        kind = canonical({key: value for key, value in flatten(run.config).items() if key != "seed"})
        seed_batch = open_batches.get(kind)
        if seed_batch is None or len(seed_batch) == size:
            seed_batch = open_batches[kind] = []
            seed_batches.append(seed_batch)
        seed_batch.append(run)
    return seed_batches
