"""Where and how a command works: folders, device, the launch that it is a part of, its layout."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gpt.errors import InputError

if TYPE_CHECKING:
    import torch

    from gpt.runner.corpora import Corpora
    from gpt.runner.launch.accelerate import Launch
    from gpt.runner.layout import Layout
    from gpt.runner.workspace import Workspace
    from gpt.study.plan import PlannedRun


@dataclass(frozen=True)
class Setup:
    """Where this command trains, the launch that it is a part of, and how runs are spread over processes."""

    workspace: "Workspace"
    launch: "Launch | None"
    layout: "Layout"

    @property
    def is_main(self) -> bool:
        """Whether this process speaks for all."""
        return self.launch is None or self.launch.rank == 0


def set_up(
    options: argparse.Namespace, runs: "Sequence[PlannedRun]", corpora: "Corpora", together: bool = False
) -> Setup:
    """Everything that can be refused before training is; what ranks are forked from starts while torch is imported.

    Args:
        together: all ranks of a launch train each run, unless the command line says otherwise.
    """
    from gpt.runner.ranks.fork_server import start_fork_server
    from gpt.study.folder import run_at

    if "RANK" not in os.environ and not all(run_at(options.out, run.fingerprint).finished for run in runs):
        start_fork_server()
    import torch

    from gpt.runner.launch.accelerate import parent_command, read_launch
    from gpt.runner.layout import LayoutOptions, resolve_layout
    from gpt.runner.ranks.local import device_of
    from gpt.runner.workspace import Workspace

    launch = read_launch(os.environ, parent_command(), torch.cuda.device_count())
    device = find_device("cpu" if launch and launch.cpu else options.device)
    check_writable(options.out)
    workspace = Workspace(options.out, corpora, device)
    ranks = options.ranks_per_run
    if launch:
        workspace = Workspace(options.out, corpora, device_of(device, launch.local_rank), launch.engine)
        ranks = launch.world if together and ranks is None else ranks
    asked = LayoutOptions(options.processes, ranks, options.seeds_per_process, options.threads, options.timeout)
    return Setup(workspace, launch, resolve_layout(asked, runs, device, launch, partial(pick_seeds, runs, workspace)))


def pick_seeds(runs: "Sequence[PlannedRun]", workspace: "Workspace", share: int, groups: int) -> int:
    """How many seeds train together on this machine's GPUs: measured once, see `gpt.runner.picks`.

    Args:
        share: the most that make sense.
        groups: processes that train at the same time.
    """
    import torch

    from gpt.bench.device import release_memory
    from gpt.bench.seeds import most_that_fit, time_seeds
    from gpt.runner import picks
    from gpt.study.folder import run_at

    if all(run_at(workspace.out, run.fingerprint).finished for run in runs):
        return share

    def limit() -> int:
        free, _ = torch.cuda.mem_get_info(workspace.device)
        on_each = -(-groups // torch.cuda.device_count())
        return min(share, most_that_fit(runs, workspace, free // on_each))

    measure = partial(time_seeds, workspace=workspace)
    pick = picks.pick_seeds(runs, workspace.out, workspace.device, limit, measure)
    release_memory(workspace.device)
    print(f"--seeds-per-process auto: {min(share, pick.seeds)}", file=sys.stderr)
    return min(share, pick.seeds)


def check_writable(out: Path) -> None:
    """Make the output folder, or refuse one that cannot be written to."""
    from gpt.records.files import make_folder
    from gpt.study.folder import refuse_old_layout

    make_folder(out)
    refuse_old_layout(out)
    if not os.access(out, os.W_OK | os.X_OK):
        raise InputError(f"--out: {out} cannot be written to; choose a folder that you may write to")


def find_device(name: str) -> "torch.device":
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device: got {name!r}, must be cpu, cuda or auto")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device: got cuda, but torch finds no CUDA device; use cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def open_corpora() -> "Corpora":
    """The texts of this command's runs."""
    from gpt.runner.corpora import Corpora

    return Corpora(cache_folder())


def cache_folder() -> Path:
    """The user's cache, or $GPT_CACHE."""
    from gpt.data.corpus import default_cache

    return Path(os.environ["GPT_CACHE"]) if os.environ.get("GPT_CACHE") else default_cache()
