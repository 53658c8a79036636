"""The machine that is measured: what waits for it, what it is, how fast it is clocked, what memory it has used."""

import gc
import resource
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from gpt.runner.stack import describe_hardware, describe_source, describe_stack

CLOCKS = ("clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "temperature.gpu", "power.draw")
"""what nvidia-smi is asked for: MHz, degrees Celsius, watts"""


def synchronize(device: torch.device) -> Callable[[], None]:
    """A function that waits until the device has done all that it was given."""
    return partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Device, versions and threads; on a GPU also its clocks at this moment, null where nvidia-smi does not say."""
    about = {**describe_stack(device), **describe_hardware(device), **describe_source()}
    return {**about, "clocks": read_clocks(device)} if device.type == "cuda" else about


def read_clocks(device: torch.device) -> dict[str, str] | None:
    """What nvidia-smi says of a GPU, in its own words."""
    query = ["nvidia-smi", f"--query-gpu={','.join(CLOCKS)}", "--format=csv,noheader", f"--id={device.index or 0}"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(zip(CLOCKS, map(str.strip, said.split(",")), strict=False))


def release_memory(device: torch.device) -> None:
    """Give a GPU's memory that no tensor uses any more back to it, for other processes."""
    gc.collect()  # an engine and its hooks hold each other
    if device.type == "cuda":
        torch.cuda.empty_cache()


def forget_peak(device: torch.device) -> None:
    """Let the next `peak_memory` of a GPU count from here."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Most bytes held at once: of a GPU's memory since `forget_peak`, else of this process since its start."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
