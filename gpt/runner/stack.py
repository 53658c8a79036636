"""What a run's bits depend on besides its configuration and code, and what else a reader may ask of its origin."""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gpt
from gpt.model.attention import SDPA_BACKENDS
from gpt.model.linear import matmul_backend

NUMERIC_VARIABLES = (
    "DNNL_DEFAULT_FPMATH_MODE", "DNNL_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE", "ONEDNN_MAX_CPU_ISA", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)  # fmt: skip
"""what torch's libraries read from the environment that picks other kernels, and so other roundings"""


def device_name(device: torch.device) -> str:
    """A GPU's model, or cpu."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def describe_stack(device: torch.device) -> dict[str, Any]:
    """Packages, device, threads and settings: what two runs of the same code must share to be compared bit by bit."""
    return {
        **{name: os.environ[name] for name in NUMERIC_VARIABLES if name in os.environ},
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "product": matmul_backend(torch.empty(1, 1, 1, device=device)),
        **({"sdpa": ", ".join(SDPA_BACKENDS)} if device.type == "cuda" else {}),
    }


def describe_hardware(device: torch.device) -> dict[str, Any]:
    """The machine, for the reader of a report; it takes no part in any comparison."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "gpu": device_name(device) if device.type == "cuda" else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


@cache
def describe_source() -> dict[str, Any]:
    """Release, git commit and whether files differed from it, both null where the package is in no repository.

    For the reader of a report: a commit may change nothing that a run's numbers depend on.
    """
    root = Path(gpt.__file__).resolve().parents[1]
    commit, dirty = None, None
    if _git(root, "rev-parse", "--show-toplevel") == str(root):  # installed, it may lie in someone else's
        commit = _git(root, "rev-parse", "HEAD")
        dirty = bool(_git(root, "status", "--porcelain", "--untracked-files=no")) if commit else None
    return {"gpt": gpt.__version__, "commit": commit, "dirty": dirty}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git answers; None where there is no git, no repository or no commit."""
    try:
        ended = subprocess.run(
            ["git", "-C", folder, *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None


def _cpuinfo() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.exists() else []
