"""Where a process works."""

from dataclasses import dataclass
from pathlib import Path

import torch

from gpt.runner.corpora import Corpora
from gpt.train.engines.kinds import DEFAULT


@dataclass(frozen=True)
class Workspace:
    """Where a process works."""

    out: Path
    """folder of runs and studies"""
    corpora: Corpora
    """the texts"""
    device: torch.device
    engine: str = DEFAULT
    """what trains, a key of `engine_kinds`"""
