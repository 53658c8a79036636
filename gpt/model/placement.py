"""How a sublayer is joined to the residual stream, and where its norms stand."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from gpt.config import ModelConfig
from gpt.model.norm import NORMS, Norm
from gpt.registry import Registry, Variant

Sublayer = Callable[[Tensor], Tensor]
"""(S, B, T, D) -> (S, B, T, D)"""


class ResidualPlacement(nn.Module, Variant):
    """(S, B, T, D) -> (S, B, T, D): the stream after a sublayer."""

    final_norm: ClassVar[bool]
    """whether the stream still has to be normalised after the last block; if not, the placement does so in each"""

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__()
        self.norm = new_norm(config, seeds)

    @abstractmethod
    def forward(self, x_SBTD: Tensor, sublayer: Sublayer) -> Tensor: ...


PLACEMENTS = Registry("model.norm_placement", ResidualPlacement)


@PLACEMENTS.register("pre")
class PreNorm(ResidualPlacement):
    """x + f(norm(x)): the stream itself is never normalised until the end (Xiong et al. 2020, figure 1b)."""

    final_norm = True

    def forward(self, x_SBTD: Tensor, sublayer: Sublayer) -> Tensor:
        return x_SBTD + sublayer(self.norm(x_SBTD))


@PLACEMENTS.register("post")
class PostNorm(ResidualPlacement):
    """norm(x + f(x)): the original placement (Vaswani et al. 2017), which leaves nothing for a final norm to do."""

    final_norm = False

    def forward(self, x_SBTD: Tensor, sublayer: Sublayer) -> Tensor:
        return self.norm(x_SBTD + sublayer(x_SBTD))


@PLACEMENTS.register("peri")
class PeriNorm(ResidualPlacement):
    """x + norm_out(f(norm(x))): around the sublayer on both sides (Kim et al. 2025)."""

    final_norm = True

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__(config, seeds)
        self.norm_out = new_norm(config, seeds)

    def forward(self, x_SBTD: Tensor, sublayer: Sublayer) -> Tensor:
        return x_SBTD + self.norm_out(sublayer(self.norm(x_SBTD)))


def new_norm(config: ModelConfig, seeds: int) -> Norm:
    """A norm of the stream, of the configuration's kind."""
    return NORMS[config.norm](config, seeds, config.width)
