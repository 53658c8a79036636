"""The feed-forward sublayer, by the kind of its nonlinearity."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt.config import ModelConfig
from gpt.model.intermediates import Intermediates
from gpt.model.linear import Linear


class Mlp(nn.Module):
    """Up to 4 D, a pointwise nonlinearity, down to D."""

    activation: Callable[[Tensor], Tensor] = staticmethod(F.gelu)

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__()
        self.up = Linear(seeds, config.width, self.inner_width(config), bias=config.bias)
        self.down = Linear(seeds, self.inner_width(config), config.width, bias=config.bias)

    @staticmethod
    def inner_width(config: ModelConfig) -> int:
        return 4 * config.width

    def forward(self, x_SBTD: Tensor, intermediates: Intermediates) -> Tensor:
        hidden_SBTF = self.activation(self.up(x_SBTD))
        intermediates.keep("mlp", hidden_SBTF)
        return self.down(hidden_SBTF)


class ReluMlp(Mlp):
    """The original feed-forward part (Vaswani et al. 2017)."""

    activation = staticmethod(torch.relu)


class SwiGlu(Mlp):
    """A gated unit (Shazeer 2020): SiLU(x G) * (x U), with 8/3 D inside so that it has as many weights."""

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__(config, seeds)
        self.gate = Linear(seeds, config.width, self.inner_width(config), bias=config.bias)

    @staticmethod
    def inner_width(config: ModelConfig) -> int:
        return round(8 * config.width / 3)

    def forward(self, x_SBTD: Tensor, intermediates: Intermediates) -> Tensor:
        hidden_SBTF = F.silu(self.gate(x_SBTD)) * self.up(x_SBTD)
        intermediates.keep("mlp", hidden_SBTF)
        return self.down(hidden_SBTF)


MLPS: dict[str, type[Mlp]] = {"gelu": Mlp, "relu": ReluMlp, "swiglu": SwiGlu}
