"""Ranks that share each batch of one run, in turns with the same ranks side by side, each with a run of its own.

python -m gpt.bench.ranks RUN.yaml DEVICE THREADS QUICK RANK RANKS PORT [--key value ...]
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from gpt.bench.spread import FULL, QUICK, Spread
from gpt.bench.start_up import last_line
from gpt.bench.steps import WARM_STEPS, TrainingSteps
from gpt.commands.surroundings import import_path
from gpt.commands.workspace import open_corpora
from gpt.config import with_values
from gpt.errors import InputError
from gpt.run_file import read_run_file
from gpt.runner.checks.variants import check_variants
from gpt.runner.launch.exit_codes import end_process
from gpt.runner.ranks.group import RankGroup, RankPosition, backend_for
from gpt.runner.ranks.local import device_of
from gpt.runner.workspace import Workspace
from gpt.train.engines.micro_batches import micro_batches
from gpt.train.engines.ranks import SINGLE, Ranks

TIMEOUT = 120.0
"""seconds that ranks wait for each other"""


@dataclass(frozen=True)
class RankCost:
    """Plain steps of one run whose batches so many ranks share."""

    ranks: int
    seconds: Spread
    """of one step of the shared run"""
    speed_up: Spread
    """a step of a run of each rank's own over a step of the shared one, in turns; all ranks are busy in both"""
    tokens_per_second: float
    """of the shared run, at the median"""
    side_by_side: float
    """the same of the ranks' own runs together"""


def measure_ranks(run: Path, overrides: Sequence[str], device: str, threads: int, ranks: int, quick: bool) -> RankCost:
    """Start so many ranks and let them train.

    Raises:
        InputError: the batch cannot be divided so, or a rank failed; its last line is in the message.
    """
    config = read_run_file(run, overrides)
    micro_batches(config, Ranks(0, ranks))
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    own = [str(run), device, str(threads), str(int(quick))]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", __name__, *own, str(rank), str(ranks), str(store.port), *overrides],
            env={**os.environ, **import_path()}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(ranks)
    ]  # fmt: skip
    said = [process.communicate() for process in started]
    for process, (_, errors) in zip(started, said, strict=True):
        if process.returncode:
            raise InputError(f"gpt bench: a rank that trains failed: {last_line(errors)}")
    told = json.loads(said[0][0])
    shared, alone = Spread.of(told["shared"]), Spread.of(told["alone"])
    tokens = config.train.batch_size * config.model.context
    return RankCost(ranks, shared, alone.over(shared), tokens / shared.median, ranks * tokens / alone.median)


def main() -> None:
    run, device, threads, quick, rank, ranks, port, *overrides = sys.argv[1:]
    torch.set_num_threads(int(threads))
    config = with_values(read_run_file(Path(run), overrides), {"train.step": "eager"}, "gpt bench")
    check_variants(config)
    place = device_of(torch.device(device), int(rank))
    store = dist.TCPStore("127.0.0.1", int(port), is_master=False, timeout=timedelta(seconds=TIMEOUT))
    group = RankGroup(
        RankPosition(int(rank), int(ranks), int(ranks)), store, backend_for(place), TIMEOUT, lambda: False
    )
    group.init()
    corpora = open_corpora()
    data, workspace = corpora.load(config), Workspace(Path(), corpora, place)
    own = with_values(config, {"probes.noise_scale": False}, "gpt bench")  # which one rank may have no parts for
    shared, alone = (
        TrainingSteps(of, data, workspace, [config.seed], among) for of, among in ((config, group.ranks), (own, SINGLE))
    )
    seconds: dict[str, list[float]] = {"shared": [], "alone": []}
    for arm in (shared, alone):
        arm.take(WARM_STEPS)
    for _ in range(QUICK.rounds if quick == "1" else FULL.rounds):  # as many on every rank
        for arm, taken in zip((shared, alone), seconds.values(), strict=True):
            group.ranks.any(False)  # all begin at once
            taken.append(arm())
    if group.ranks.is_main:
        print(json.dumps(seconds))
    group.destroy()
    end_process(0)


if __name__ == "__main__":
    main()
