"""Where a process works."""

from dataclasses import dataclass
from pathlib import Path

import torch

from gpt.runner.inputs import Corpora


@dataclass(frozen=True)
class Workspace:
    """Where a process works."""

    out: Path
    """folder of runs and studies"""
    corpora: Corpora
    """the texts"""
    device: torch.device
    zero_stage: int | None = None
    """DeepSpeed's stage where the launch asks for DeepSpeed"""
