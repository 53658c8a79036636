"""Where and how a command works: folders, device, the launch that it is a part of, its layout."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpt.errors import InputError

if TYPE_CHECKING:
    import torch

    from gpt.runner.inputs import Corpora
    from gpt.runner.launch.accelerate import Launch
    from gpt.runner.layout import Layout
    from gpt.runner.workspace import Workspace
    from gpt.study.plan import PlannedRun


def find_launch() -> "Launch | None":
    """This process's place among those that a launcher started, if one did."""
    import torch

    from gpt.runner.launch.accelerate import parent_command, read_launch

    return read_launch(os.environ, parent_command(), torch.cuda.device_count())


def is_main(launch: "Launch | None") -> bool:
    """Whether this process speaks for all."""
    return launch is None or launch.rank == 0


def make_workspace(options: argparse.Namespace, launch: "Launch | None", corpora: "Corpora") -> "Workspace":
    """Where this command works; the device is known to exist and the folder to be writable."""
    from gpt.runner.ranks.local import device_of
    from gpt.runner.workspace import Workspace

    device = find_device("cpu" if launch and launch.cpu else options.device)
    check_writable(options.out)
    if launch is None:
        return Workspace(options.out, corpora, device)
    return Workspace(options.out, corpora, device_of(device, launch.local_rank), launch.engine)


def make_layout(
    options: argparse.Namespace, workspace: "Workspace", launch: "Launch | None", runs: "Sequence[PlannedRun]"
) -> "Layout":
    """How the runs are spread over processes."""
    from gpt.runner.layout import LayoutOptions, resolve_layout

    wishes = LayoutOptions(
        options.processes, options.ranks_per_run, options.seeds_per_process, options.threads, options.timeout
    )
    return resolve_layout(wishes, runs, workspace.device, launch)


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
    from gpt.runner.inputs import Corpora

    return Corpora(cache_folder())


def cache_folder() -> Path:
    """The user's cache, or $GPT_CACHE."""
    from gpt.data.corpus import default_cache

    return Path(os.environ["GPT_CACHE"]) if os.environ.get("GPT_CACHE") else default_cache()
