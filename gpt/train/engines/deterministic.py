"""Strict mode: algorithms of torch and its libraries whose bits do not depend on which of a GPU's threads is first."""

import os

import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""what cuBLAS reads when a process first multiplies on a GPU; with the value below its products are deterministic"""


def fix_workspace() -> None:
    """Let this process, before it multiplies on a GPU, be able to do so deterministically."""
    os.environ.setdefault(WORKSPACE, ":4096:8")


def set_deterministic(on: bool) -> None:
    """Let this process take deterministic algorithms alone, and fail where there is none; or any."""
    if torch.are_deterministic_algorithms_enabled() != on:  # to switch imports a part of torch's compiler
        torch.use_deterministic_algorithms(on)
