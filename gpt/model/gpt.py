"""The decoder-only Transformer: S independent models in the same tensors.

Shapes: S seed, B batch, T position, D model width, V vocabulary. S = 1 is an ordinary model.
"""

from collections.abc import Collection

from torch import Tensor, nn
from torch.nn import functional as F

from gpt.config import ModelConfig
from gpt.model.block import Block
from gpt.model.dropout import Dropout, DropoutKey
from gpt.model.embedding import Embedding
from gpt.model.init import initialise
from gpt.model.intermediates import Intermediates
from gpt.model.linear import Linear, matmul
from gpt.model.placement import PLACEMENTS, new_norm
from gpt.model.position import POSITIONS


class GPT(nn.Module):
    """Embedding, blocks, final norm where the placement has one, and a projection to the vocabulary.

    Its parameters are not yet filled; `build_model` fills them.
    """

    def __init__(self, config: ModelConfig, vocabulary: int, seeds: int):
        super().__init__()
        self.embedding = Embedding(seeds, vocabulary, config.width)
        self.position = POSITIONS[config.position](config, seeds)
        self.dropout = Dropout(config.dropout, "embedding")
        self.blocks = nn.ModuleList(Block(config, seeds, layer) for layer in range(config.layers))
        self.final_norm = new_norm(config, seeds) if PLACEMENTS[config.norm_placement].final_norm else nn.Identity()
        self.head = None if config.tie_embeddings else Linear(seeds, config.width, vocabulary, bias=False)

    def forward(
        self, tokens_SBT: Tensor, capture: Collection[str] = (), dropout_key: DropoutKey | None = None
    ) -> tuple[Tensor, dict[str, list[Tensor]]]:
        """Logits (S, B, T, V) for the character after each position, and the captured intermediates (see
        `INTERMEDIATES`).

        Args:
            dropout_key: what dropout is keyed by; None, as in evaluation, for no dropout.
        """
        intermediates = Intermediates(capture)
        x_SBTD = self.dropout(self.position.add(self.embedding(tokens_SBT)), dropout_key)
        intermediates.keep("residual", x_SBTD)
        for block in self.blocks:
            x_SBTD = block(x_SBTD, self.position, dropout_key, intermediates)
            intermediates.keep("residual", x_SBTD)
        x_SBTD = self.final_norm(x_SBTD)
        tied_SDV = self.embedding.weight.transpose(1, 2)
        logits_SBTV = matmul(x_SBTD, tied_SDV) if self.head is None else self.head(x_SBTD)
        return logits_SBTV, dict(intermediates.values)


def build_model(config: ModelConfig, vocabulary: int, seeds: tuple[int, ...]) -> GPT:
    """A model with the initial weights of the given seeds."""
    model = GPT(config, vocabulary, len(seeds))
    initialise(model, config, seeds)
    return model


def token_losses(logits_SBTV: Tensor, targets_SBT: Tensor) -> Tensor:
    """(S, B, T): cross-entropy of each character, in nats, in single precision."""
    losses = F.cross_entropy(logits_SBTV.float().flatten(0, 2), targets_SBT.flatten(), reduction="none")
    return losses.view(targets_SBT.shape)


def layer_names(config: ModelConfig) -> list[str]:
    """The layers that have parameters of their own, from input to output."""
    has_head = PLACEMENTS[config.norm_placement].final_norm or not config.tie_embeddings
    return ["embedding", *(f"layer {i}" for i in range(config.layers)), *(["head"] if has_head else [])]


def layer_index(parameter: str, config: ModelConfig) -> int:
    """The place in `layer_names` of the layer that a parameter belongs to; a tied projection counts as embedding."""
    if parameter.startswith("blocks."):
        return 1 + int(parameter.split(".")[1])
    return 0 if parameter.startswith(("embedding.", "position.")) else config.layers + 1
