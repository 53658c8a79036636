"""The feed-forward sublayer, by the kind of its nonlinearity."""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt.config import ModelConfig
from gpt.model.intermediates import Intermediates
from gpt.model.linear import Linear
from gpt.registry import Registry, Variant


class FeedForward(nn.Module, Variant):
    """Up to F, something nonlinear, down to D; a subclass says what its hidden units are."""

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__()
        self.up = Linear(seeds, config.width, self.inner_width(config), bias=config.bias)
        self.down = Linear(seeds, self.inner_width(config), config.width, bias=config.bias, residual=True)

    @staticmethod
    def inner_width(config: ModelConfig) -> int:
        """F."""
        return 4 * config.width

    @abstractmethod
    def hidden(self, x_SBTD: Tensor) -> Tensor:
        """(S, B, T, F): the hidden units, after the nonlinearity."""

    def forward(self, x_SBTD: Tensor, intermediates: Intermediates) -> Tensor:
        hidden_SBTF = self.hidden(x_SBTD)
        intermediates.keep("mlp", hidden_SBTF)
        return self.down(hidden_SBTF)


MLPS = Registry("model.mlp", FeedForward)


@MLPS.register("gelu")
class Gelu(FeedForward):
    """A unit times the chance that a normal draw is below it (Hendrycks and Gimpel 2016)."""

    def hidden(self, x_SBTD: Tensor) -> Tensor:
        return F.gelu(self.up(x_SBTD))


@MLPS.register("relu")
class Relu(FeedForward):
    """The original feed-forward part (Vaswani et al. 2017)."""

    def hidden(self, x_SBTD: Tensor) -> Tensor:
        return torch.relu(self.up(x_SBTD))


@MLPS.register("swiglu")
class SwiGlu(FeedForward):
    """A gated unit (Shazeer 2020): SiLU(x G) * (x U), with 8/3 D inside so that it has as many weights."""

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__(config, seeds)
        self.gate = Linear(seeds, config.width, self.inner_width(config), bias=config.bias)

    @staticmethod
    def inner_width(config: ModelConfig) -> int:
        return round(8 * config.width / 3)

    def hidden(self, x_SBTD: Tensor) -> Tensor:
        return F.silu(self.gate(x_SBTD)) * self.up(x_SBTD)
