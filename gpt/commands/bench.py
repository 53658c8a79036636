"""What a run costs on this machine."""

import argparse
import os
from pathlib import Path

from gpt.commands.output import show
from gpt.commands.workspace import find_device, open_corpora
from gpt.config import with_values
from gpt.errors import InputError
from gpt.run_file import read_run_file
from gpt.runner.launch.exit_codes import DONE, WRONG

SEEDS = {"cpu": 4, "cuda": 256}
"""most seeds trained together, by type of device; a GPU's memory may hold fewer"""
MOST_RANKS = 4
"""that share a batch on a CPU, where no other number is asked for"""
MODES = {"cpu": "eager", "cuda": "eager,compiled,graph"}
"""ways of computing a step; on a CPU kernels take a minute to compile, and gain little"""


def run(options: argparse.Namespace) -> int:
    """Measure one run; exit code 1 where its losses are not nanoGPT's."""
    config = read_run_file(options.run, options.overrides)
    import torch

    from gpt.bench.measure import Wanted, measure
    from gpt.runner.checks.variants import check_variants
    from gpt.runner.layout import check_threads
    from gpt.runner.workspace import Workspace
    from gpt.train.engines.step_modes import check_step

    check_variants(config)
    device = find_device(options.device)
    check_threads(options.threads)
    most = SEEDS[device.type] if options.seeds is None else options.seeds
    if most < 1:
        raise InputError(f"--seeds: got {most}, must be at least 1")
    if "RANK" in os.environ:
        raise InputError("gpt bench: measures one process, must not be started by a launcher")
    corpora = open_corpora()
    data = corpora.load(config)
    torch.set_num_threads(options.threads)
    modes = (options.modes or MODES[device.type]).split(",")
    if len(set(modes)) < len(modes) or not set(modes) <= {"eager", "compiled", "graph"}:
        raise InputError(f"--modes: got {options.modes}, must be some of eager,compiled,graph, each once")
    for mode in modes:
        check_step(with_values(config, {"train.step": mode}, "--modes"), device, ranks=1)
    here = torch.cuda.device_count() if device.type == "cuda" else min(MOST_RANKS, len(os.sched_getaffinity(0)))
    ranks = here if options.ranks is None else options.ranks
    if ranks < 1 or (device.type == "cuda" and ranks > here):
        raise InputError(
            f"--ranks: got {ranks}, must be at least 1" + (f" and at most {here} GPUs" if ranks > 1 else "")
        )
    together, shared = ([2**power for power in range(count.bit_length())] for count in (most, ranks))
    wanted = Wanted(options.run, options.overrides, together, modes, shared[1:], options.against, options.quick)
    bench = measure(config, data, Workspace(Path(), corpora, device), wanted)
    show(bench, options.json)
    return WRONG if bench.against and not bench.against.losses.agree else DONE
