"""Where a process works."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Workspace:
    """Where a process works."""

    out: Path
    """folder of runs and studies"""
    cache: Path
    """folder of fetched texts"""
    device: torch.device
    zero_stage: int | None = None
    """DeepSpeed's stage where the launch asks for DeepSpeed"""
