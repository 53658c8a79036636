"""The fastest matrix product that a device does in a precision: what no training step can exceed."""

from dataclasses import dataclass
from functools import partial

import torch

from gpt.bench.device import synchronize
from gpt.bench.spread import Effort, Spread, alternate, stopwatch
from gpt.config import TrainConfig
from gpt.model.linear import MATMULS

SIZES = {"cpu": 1024, "cuda": 8192}
"""rows and columns of square matrices that are large enough, by type of device"""
QUICK_SIZE = 128


@dataclass(frozen=True)
class Ceiling:
    """Arithmetic of square matrix products."""

    flops_per_second: float
    """median of the fastest kernel"""
    kernel: str
    """a key of `gpt.model.linear.MATMULS`"""
    precision: str
    size: int
    """rows and columns of both matrices"""
    seconds: Spread
    """of one product"""


def measure_ceiling(device: torch.device, train: TrainConfig, effort: Effort, quick: bool) -> Ceiling:
    """Time the products that a training step on this device could use, with the threads of this process."""
    size = QUICK_SIZE if quick else SIZES[device.type]
    dtype = torch.bfloat16 if train.precision == "bf16" else torch.float32
    x, w = (torch.randn(1, size, size, device=device, dtype=dtype) for _ in range(2))
    names = ["batched", "single"]
    if device.type == "cpu" and dtype == torch.float32 and torch.backends.mkldnn.is_available():
        names.append("onednn")
    with torch.no_grad():
        arms = [stopwatch(partial(MATMULS[name], x, w), synchronize(device)) for name in names]
        for arm in arms:
            arm()  # the first time is slower
        timed = alternate(arms, effort)
    kernel, seconds = min(zip(names, timed, strict=True), key=lambda pair: pair[1].median)
    return Ceiling(2 * size**3 / seconds.median, kernel, train.precision, size, seconds)
