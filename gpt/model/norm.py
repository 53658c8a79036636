"""Normalisation over the last dimension, with one gain (and shift) for each seed."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt.config import ModelConfig
from gpt.model.init import GAIN, SHIFT, Kind
from gpt.registry import Registry, Variant

EPS = 1e-5


class Norm(nn.Module, Variant):
    """(S, ..., D) -> (S, ..., D); D is the width of the stream or, for queries and keys, of a head."""

    kinds: ClassVar[Mapping[str, Kind]] = {"weight": GAIN, "bias": SHIFT}

    def __init__(self, config: ModelConfig, seeds: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(seeds, width))

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor: ...


NORMS = Registry("model.norm", Norm)


@NORMS.register("layernorm")
class LayerNorm(Norm):
    """Zero mean, unit variance, then gain and shift (Ba, Kiros and Hinton 2016)."""

    def __init__(self, config: ModelConfig, seeds: int, width: int):
        super().__init__(config, seeds, width)
        self.bias = nn.Parameter(torch.empty(seeds, width)) if config.bias else None

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] == 1:  # one seed's gain and shift fit into the kernel
            bias = None if self.bias is None else self.bias.squeeze(0)
            return F.layer_norm(x, x.shape[-1:], self.weight.squeeze(0), bias, EPS)
        y = F.layer_norm(x, x.shape[-1:], eps=EPS) * per_seed(self.weight, x)
        return y if self.bias is None else y + per_seed(self.bias, x)


@NORMS.register("rmsnorm")
class RMSNorm(Norm):
    """Unit root mean square, then gain (Zhang and Sennrich 2019); it has no shift."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], eps=EPS) * per_seed(self.weight, x)


def per_seed(parameter_SD: Tensor, x: Tensor) -> Tensor:
    """(S, 1, ..., 1, D): a parameter of each seed, to go with x of shape (S, ..., D)."""
    return parameter_SD.view(parameter_SD.shape[0], *[1] * (x.ndim - 2), -1)
