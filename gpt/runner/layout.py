"""How cells are spread over processes: rows of ranks, packs of seeds."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gpt.config import canonical, flatten
from gpt.errors import InputError
from gpt.runner.launch.accelerate import Launch
from gpt.study.plan import PlannedCell
from gpt.train.engines.micro_batches import micro_batches
from gpt.train.engines.ranks import Ranks

LONGEST_TIMEOUT = 86_400
"""seconds"""
MOST_THREADS = 1024
"""more than that many torch may not survive to start"""
LARGEST_PACK = 32
"""seeds that `auto` trains together at most"""


@dataclass(frozen=True)
class Layout:
    """W processes in W / R rows of R; a row trains one pack at a time."""

    processes: int
    """W, all ranks"""
    ranks_per_run: int
    """R, the ranks that share a batch"""
    seeds_per_pack: int
    threads: int
    """of each process"""
    timeout: float
    """seconds after which a rank that does not answer is given up"""

    @property
    def rows(self) -> int:
        return self.processes // self.ranks_per_run

    def __str__(self) -> str:
        words = [f"{self.processes} process{'es' if self.processes > 1 else ''}"]
        if self.ranks_per_run > 1:
            words.append(f"{self.ranks_per_run} for each run")
        if self.seeds_per_pack > 1:
            words.append(f"up to {self.seeds_per_pack} seeds together")
        return ", ".join(words)


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for."""

    processes: str
    """`auto` or a number"""
    ranks_per_run: int | None
    seeds_per_pack: str
    """`auto` or a number"""
    threads: int
    timeout: float


def decide(wishes: Wishes, cells: Sequence[PlannedCell], device: torch.device, launch: Launch | None) -> Layout:
    """The layout for these cells, on this machine or in this launch.

    Raises:
        InputError: names the option or field whose value does not fit.
    """
    if not 1 <= wishes.threads <= MOST_THREADS:
        raise InputError(f"--threads: got {wishes.threads}, must be at least 1 and at most {MOST_THREADS}")
    if not 0 < wishes.timeout <= LONGEST_TIMEOUT:
        raise InputError(f"--timeout: got {wishes.timeout:g} seconds, must be above 0 and at most {LONGEST_TIMEOUT}")
    ranks = _ranks_per_run(wishes.ranks_per_run, launch)
    processes = launch.world if launch else _processes(wishes.processes, ranks, device)
    if launch and wishes.processes != "auto":
        raise InputError(f"--processes: got {wishes.processes}, must be left out: a launcher started {launch.world}")
    if processes % ranks:
        raise InputError(f"--ranks-per-run: got {ranks}, must divide the number of processes, {processes}")
    if device.type == "cuda" and ranks > 1 and launch is None and processes > torch.cuda.device_count():
        raise InputError(
            f"--processes: got {processes} for {torch.cuda.device_count()} GPUs; ranks that share a run need one each"
        )
    for cell in cells:
        micro_batches(cell.config, Ranks(0, ranks))
        if launch and launch.zero_stage is not None and cell.config.train.reduction == "ordered":
            raise InputError(
                "train.reduction: got ordered, must be fast with DeepSpeed, which adds up gradients itself"
            )
    seeds = _seeds_per_pack(wishes.seeds_per_pack, cells, processes // ranks, device)
    if launch is None:
        processes = ranks * max(1, min(processes // ranks, len(packs_of(cells, seeds))))
    return Layout(processes, ranks, seeds, wishes.threads, wishes.timeout)


def _ranks_per_run(wish: int | None, launch: Launch | None) -> int:
    sharded = launch is not None and launch.zero_stage is not None
    ranks = wish if wish is not None else launch.world if launch and sharded else 1
    if ranks < 1:
        raise InputError(f"--ranks-per-run: got {ranks}, must be at least 1")
    if launch and sharded and ranks == 1 < launch.world:
        raise InputError("--ranks-per-run: got 1 with DeepSpeed, which has something to share out from 2 on")
    return ranks


def _processes(wish: str, ranks: int, device: torch.device) -> int:
    """What `--processes` asks for; `auto` is one for each GPU, else for each core, in whole rows."""
    if wish == "auto":
        places = torch.cuda.device_count() if device.type == "cuda" else len(os.sched_getaffinity(0))
        return max(ranks, places - places % ranks)
    if not wish.isdecimal() or int(wish) < 1:
        raise InputError(f"--processes: got {wish!r}, must be auto or a whole number from 1")
    return int(wish)


def _seeds_per_pack(wish: str, cells: Sequence[PlannedCell], rows: int, device: torch.device) -> int:
    """What `--seeds-per-pack` asks for.

    `auto` is 1 on a CPU, where packing gains nothing. On a GPU, where a small model leaves most of the chip idle, it is
    as many as still give every row its share of the cells.
    """
    if wish == "auto":
        return min(LARGEST_PACK, -(-len(cells) // rows)) if device.type == "cuda" and cells else 1
    if not wish.isdecimal() or int(wish) < 1:
        raise InputError(f"--seeds-per-pack: got {wish!r}, must be auto or a whole number from 1")
    return int(wish)


def packs_of(cells: Sequence[PlannedCell], size: int) -> list[list[PlannedCell]]:
    """Cells that differ in nothing but the seed, at most `size` together; packs are in the order of their first cells.

    Args:
        cells: of any studies, each fingerprint once.
    """
    open_packs: dict[str, list[PlannedCell]] = {}
    packs = []
    for cell in cells:
        kind = canonical({key: value for key, value in flatten(cell.config).items() if key != "seed"})
        pack = open_packs.get(kind)
        if pack is None or len(pack) == size:
            pack = open_packs[kind] = []
            packs.append(pack)
        pack.append(cell)
    return packs
