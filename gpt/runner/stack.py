"""What a run's bits depend on besides its configuration: code, packages, device, threads."""

import ast
import hashlib
import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gpt
from gpt.model.linear import matmul_backend

NUMERIC_ROOMS = ("config.py", "randomness.py", "data/*.py", "model/*.py", "train/*.py", "probes/*.py")


@cache
def code_version() -> str:
    """12 hex digits over the syntax of every module that can change a number; comments and docstrings do not count."""
    root = Path(gpt.__file__).parent
    files = sorted(file for room in NUMERIC_ROOMS for file in root.glob(room))
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(root)}\n{_bare_source(file)}\n".encode())
    return digest.hexdigest()[:12]


def _bare_source(file: Path) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            node.body = [line for line in node.body if not _is_docstring(line)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_docstring(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def describe_stack(device: torch.device) -> dict[str, Any]:
    """Everything that two runs must share for their numbers to be compared bit by bit."""
    return {
        "gpt": gpt.__version__,
        "code": code_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "product": matmul_backend(torch.empty(1, 1, 1, device=device)),
    }


def describe_hardware(device: torch.device) -> dict[str, Any]:
    """The machine, for the reader of a report; it takes no part in any comparison."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpuinfo() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.exists() else []
