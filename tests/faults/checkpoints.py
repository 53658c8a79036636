"""Checkpoints that hold nothing but their step, for tests that need no training."""

from pathlib import Path

import torch

from gpt.train import checkpoint


def tensors(step: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.arange(12.0).reshape(3, 4) + step, "step": torch.tensor(step)}


def commit(root: Path, step: int) -> Path:
    return checkpoint.commit(root, step, tensors(step), {"step": step})


def steps(root: Path) -> list[int]:
    """The steps whose checkpoints verify, and hold what was committed."""
    found, _ = checkpoint.find(root)
    for step in found:
        loaded = checkpoint.load(root, step)
        assert loaded.meta == {"step": step}
        assert all(torch.equal(loaded.tensors[name], value) for name, value in tensors(step).items())
    return list(found)
