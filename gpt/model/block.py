"""A Transformer block: two sublayers, each joined to the residual stream by the chosen placement of norms."""

from collections.abc import Callable

from torch import Tensor, nn

from gpt.config import ModelConfig
from gpt.model.attention import Attention
from gpt.model.dropout import Dropout, DropoutKey
from gpt.model.intermediates import Intermediates
from gpt.model.mlp import MLPS
from gpt.model.norm import NORMS
from gpt.model.position import NoPosition

Sublayer = Callable[[Tensor], Tensor]


class PreNorm(nn.Module):
    """x + f(norm(x)): the stream itself is never normalised until the end (Xiong et al. 2020, figure 1b)."""

    final_norm = True

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__()
        self.norm = NORMS[config.norm](seeds, config.width, bias=config.bias)

    def forward(self, x_SBTD: Tensor, sublayer: Sublayer) -> Tensor:
        return x_SBTD + sublayer(self.norm(x_SBTD))


class PostNorm(PreNorm):
    """norm(x + f(x)): the original placement (Vaswani et al. 2017), which leaves nothing for a final norm to do."""

    final_norm = False

    def forward(self, x_SBTD: Tensor, sublayer: Sublayer) -> Tensor:
        return self.norm(x_SBTD + sublayer(x_SBTD))


class PeriNorm(PreNorm):
    """x + norm_out(f(norm(x))): around the sublayer on both sides (Kim et al. 2025)."""

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__(config, seeds)
        self.norm_out = NORMS[config.norm](seeds, config.width, bias=config.bias)

    def forward(self, x_SBTD: Tensor, sublayer: Sublayer) -> Tensor:
        return x_SBTD + self.norm_out(sublayer(self.norm(x_SBTD)))


PLACEMENTS: dict[str, type[PreNorm]] = {"pre": PreNorm, "post": PostNorm, "peri": PeriNorm}


class Block(nn.Module):
    """Attention, then feed-forward."""

    def __init__(self, config: ModelConfig, seeds: int, layer: int):
        super().__init__()
        placement = PLACEMENTS[config.norm_placement]
        self.attention = Attention(config, seeds)
        self.attention_residual = placement(config, seeds)
        self.attention_dropout = Dropout(config.dropout, f"blocks.{layer}.attention")
        self.mlp = MLPS[config.mlp](config, seeds)
        self.mlp_residual = placement(config, seeds)
        self.mlp_dropout = Dropout(config.dropout, f"blocks.{layer}.mlp")

    def forward(
        self, x_SBTD: Tensor, position: NoPosition, dropout_key: DropoutKey | None, intermediates: Intermediates
    ) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            return self.attention_dropout(self.attention(x, position, intermediates), dropout_key)

        def feed_forward(x: Tensor) -> Tensor:
            return self.mlp_dropout(self.mlp(x, intermediates), dropout_key)

        x_SBTD = self.attention_residual(x_SBTD, attend)
        return self.mlp_residual(x_SBTD, feed_forward)
