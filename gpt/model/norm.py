"""Normalisation over the last dimension, with one gain (and shift) for each seed."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-5


def _per_seed(parameter_SD: Tensor, x: Tensor) -> Tensor:
    return parameter_SD.view(parameter_SD.shape[0], *[1] * (x.ndim - 2), -1)


class LayerNorm(nn.Module):
    """Zero mean, unit variance, then gain and shift (Ba, Kiros and Hinton 2016)."""

    def __init__(self, seeds: int, width: int, *, bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(seeds, width))
        self.bias = nn.Parameter(torch.empty(seeds, width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(S, ..., D) -> (S, ..., D)."""
        if x.shape[0] == 1:  # one seed's gain and shift fit into the kernel
            bias = None if self.bias is None else self.bias.squeeze(0)
            return F.layer_norm(x, x.shape[-1:], self.weight.squeeze(0), bias, EPS)
        y = F.layer_norm(x, x.shape[-1:], eps=EPS) * _per_seed(self.weight, x)
        return y if self.bias is None else y + _per_seed(self.bias, x)


class RMSNorm(nn.Module):
    """Unit root mean square, then gain (Zhang and Sennrich 2019); it has no shift."""

    def __init__(self, seeds: int, width: int, *, bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(seeds, width))

    def forward(self, x: Tensor) -> Tensor:
        """(S, ..., D) -> (S, ..., D)."""
        return F.rms_norm(x, x.shape[-1:], eps=EPS) * _per_seed(self.weight, x)


NORMS: dict[str, type[LayerNorm] | type[RMSNorm]] = {"layernorm": LayerNorm, "rmsnorm": RMSNorm}
