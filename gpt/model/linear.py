"""The matrix product of S independent layers, and the only place that picks the kernel which computes it.

Shapes: S seed, N rows (every other leading dimension folded), I inputs, O outputs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt.model.init import SHIFT, Kind, Matrix

Matmul = Callable[[Tensor, Tensor], Tensor]


def batched(x_SNI: Tensor, w_SIO: Tensor) -> Tensor:
    """One batched product for all seeds: a single launch on a GPU."""
    return torch.bmm(x_SNI, w_SIO)


def single(x_SNI: Tensor, w_SIO: Tensor) -> Tensor:
    """A plain product; S must be 1."""
    return F.linear(x_SNI.squeeze(0), w_SIO.squeeze(0).T).unsqueeze(0)


class _OneDNN(torch.autograd.Function):
    """x @ w through oneDNN, whose fp32 kernels do not depend on the vendor of the processor as MKL's do."""

    @staticmethod
    def forward(ctx: Any, x_SNI: Tensor, w_SIO: Tensor) -> Tensor:
        ctx.save_for_backward(x_SNI, w_SIO)
        return _onednn_products(x_SNI, w_SIO)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x_SNI, w_SIO = ctx.saved_tensors
        grad_SNO, narrows = grads[0], w_SIO.shape[1] > w_SIO.shape[2]
        # oneDNN copies a first factor that comes transposed: let it be the narrower one
        grad_SIO = _onednn_products(grad_SNO.mT, x_SNI).mT if narrows else _onednn_products(x_SNI.mT, grad_SNO)
        return _onednn_products(grad_SNO, w_SIO.mT), grad_SIO


def _onednn_products(x_SNI: Tensor, w_SIO: Tensor) -> Tensor:
    product = torch.ops.mkldnn._linear_pointwise
    if len(w_SIO) == 1:  # needs no stack, which copies
        return product(x_SNI, w_SIO[0].T, None, "none", [], "")
    return torch.stack([product(x, w.T, None, "none", [], "") for x, w in zip(x_SNI, w_SIO, strict=True)])


def onednn(x_SNI: Tensor, w_SIO: Tensor) -> Tensor:
    """oneDNN's product, seed by seed, for fp32 on a CPU."""
    return _OneDNN.apply(x_SNI, w_SIO)


FIRST_PROCESSOR = 8192
"""characters that hold its description; the others are of the same kind"""

MATMULS: dict[str, Matmul] = {"batched": batched, "single": single, "onednn": onednn}


def _mkl_is_slow_here() -> bool:
    """MKL leaves AVX-512 unused on processors that are not Intel's; oneDNN asks for features, not for a vendor.

    Where there is no AVX-512 to be used, MKL is the faster one.
    """
    info = Path("/proc/cpuinfo")
    cpu = ""
    if info.exists():
        with info.open() as lines:
            cpu = lines.read(FIRST_PROCESSOR)
    return torch.backends.mkldnn.is_available() and "AuthenticAMD" in cpu and "avx512f" in cpu


MKL_IS_SLOW = _mkl_is_slow_here()
"""a constant, for a compiled step can call nothing that reads files"""


def matmul_backend(x_SNI: Tensor) -> str:
    """The name of the fastest known product for this input, a key of `MATMULS`."""
    fp32_on_cpu = x_SNI.device.type == "cpu" and x_SNI.dtype == torch.float32
    knows_others_only = torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
    if fp32_on_cpu and MKL_IS_SLOW and not knows_others_only:
        return "onednn"
    return "single" if x_SNI.shape[0] == 1 else "batched"


class Linear(nn.Module):
    """y = x W + b, one W and b for each seed.

    Args:
        residual: whether y is added to the residual stream.
        side_by_side: so many matrices of (I, O / side_by_side) make W, which begin as if each were alone.
    """

    def __init__(
        self, seeds: int, inputs: int, outputs: int, *, bias: bool, residual: bool = False, side_by_side: int = 1
    ):
        super().__init__()
        self.kinds: dict[str, Kind] = {"weight": Matrix(inputs, outputs // side_by_side, residual), "bias": SHIFT}
        self.weight = nn.Parameter(torch.empty(seeds, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(seeds, outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(S, ..., I) -> (S, ..., O)."""
        y = matmul(x, self.weight)
        if self.bias is None:
            return y
        return y + self.bias.view(self.bias.shape[0], *[1] * (x.ndim - 2), -1)


def matmul(x: Tensor, w_SIO: Tensor) -> Tensor:
    """(S, ..., I) times (S, I, O) -> (S, ..., O) by the product that `matmul_backend` names."""
    x_SNI = x.flatten(1, -2)
    return MATMULS[matmul_backend(x_SNI)](x_SNI, w_SIO).view(*x.shape[:-1], w_SIO.shape[-1])
