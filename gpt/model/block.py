"""A Transformer block: two sublayers, each joined to the residual stream by the chosen placement of norms."""

from torch import Tensor, nn

from gpt.config import ModelConfig
from gpt.model.attention import Attention
from gpt.model.dropout import Dropout, DropoutKey
from gpt.model.intermediates import Intermediates
from gpt.model.mlp import MLPS
from gpt.model.placement import PLACEMENTS
from gpt.model.position import PositionEncoding


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
        self, x_SBTD: Tensor, position: PositionEncoding, dropout_key: DropoutKey | None, intermediates: Intermediates
    ) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            return self.attention_dropout(self.attention(x, position, intermediates), dropout_key)

        def feed_forward(x: Tensor) -> Tensor:
            return self.mlp_dropout(self.mlp(x, intermediates), dropout_key)

        x_SBTD = self.attention_residual(x_SBTD, attend)
        return self.mlp_residual(x_SBTD, feed_forward)
