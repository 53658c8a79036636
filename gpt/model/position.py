"""How the order of tokens reaches the model: added to the stream, turned into queries and keys, or biasing the logits.

Shapes: S seed, B batch, T position, U key position, H heads, K head width, D model width.
"""

import math

import torch
from torch import Tensor, nn

from gpt.config import ModelConfig
from gpt.model.init import embedding_std

BASE = 10_000.0


class NoPosition(nn.Module):
    """No position at all; also the three identities that each other kind replaces one of."""

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__()

    def add(self, x_SBTD: Tensor) -> Tensor:
        """Positions added to the token embeddings."""
        return x_SBTD

    def rotate(self, x_SBHTK: Tensor) -> Tensor:
        """Positions turned into a query or a key."""
        return x_SBHTK

    def bias_HTU(self, length: int) -> Tensor | None:
        """Positions added to the attention logits."""
        return None


class Learned(NoPosition):
    """A free vector for each position (Gehring et al. 2017; GPT-2)."""

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__(config, seeds)
        self.weight = nn.Parameter(torch.empty(seeds, config.context, config.width))

    def add(self, x_SBTD: Tensor) -> Tensor:
        return x_SBTD + self.weight[:, None, : x_SBTD.shape[2]]


class Sinusoidal(NoPosition):
    """Fixed waves of geometrically spaced lengths (Vaswani et al. 2017, section 3.5).

    The paper adds waves of amplitude one to embeddings scaled to unit variance. Both are scaled down alike here, by
    the embeddings' initial standard deviation, so that the ratio between the two is the paper's.
    """

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__(config, seeds)
        table_TD = sinusoids(config.context, config.width) * embedding_std(config)
        self.register_buffer("table_TD", table_TD, persistent=False)
        self.table_TD: Tensor

    def add(self, x_SBTD: Tensor) -> Tensor:
        return x_SBTD + self.table_TD[: x_SBTD.shape[2]]


def sinusoids(length: int, width: int) -> Tensor:
    """(T, D): sine in even columns, cosine in odd ones, of t / 10000^(2i/D)."""
    t_T1 = torch.arange(length, dtype=torch.float64)[:, None]
    rate_F = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(BASE) / width))
    return torch.stack([torch.sin(t_T1 * rate_F), torch.cos(t_T1 * rate_F)], dim=-1).flatten(1).float()


class Rope(NoPosition):
    """Rotary positions (Su et al. 2021, equation 34): the pair (i, i + K/2) of a query or key turns by t * rate_i.

    A turned query times a turned key depends on their positions through t - u only.
    """

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__(config, seeds)
        rate_F = BASE ** (-torch.arange(0, config.head_width, 2, dtype=torch.float64) / config.head_width)
        angle_TF = torch.arange(config.context, dtype=torch.float64)[:, None] * rate_F
        cos_TF, sin_TF = torch.cos(angle_TF).float(), torch.sin(angle_TF).float()
        self.register_buffer("cos_TK", torch.cat([cos_TF, cos_TF], dim=-1), persistent=False)
        self.register_buffer("sin_TK", torch.cat([-sin_TF, sin_TF], dim=-1), persistent=False)
        self.cos_TK: Tensor
        self.sin_TK: Tensor

    def rotate(self, x_SBHTK: Tensor) -> Tensor:
        length, width = x_SBHTK.shape[-2:]
        partner_SBHTK = x_SBHTK.roll(width // 2, dims=-1)
        return x_SBHTK * self.cos_TK[:length] + partner_SBHTK * self.sin_TK[:length]


class Alibi(NoPosition):
    """Logits fall linearly with distance, at one slope for each head (Press et al. 2022)."""

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__(config, seeds)
        t_T = torch.arange(config.context)
        distance_TU = (t_T[:, None] - t_T[None, :]).float()
        table_HTU = -alibi_slopes(config.heads)[:, None, None] * distance_TU
        self.register_buffer("table_HTU", table_HTU, persistent=False)
        self.table_HTU: Tensor

    def bias_HTU(self, length: int) -> Tensor:
        return self.table_HTU[:, :length, :length]


def alibi_slopes(heads: int) -> Tensor:
    """(H,): 2^(-8h/H) for a power of two; otherwise every second slope of the next power fills up the rest."""
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2.0 ** (-8 * (h + 1) / power) for h in range(power)]
    between = [2.0 ** (-4 * (h + 1) / power) for h in range(0, 2 * power, 2)]
    return torch.tensor((slopes + between)[:heads])


POSITIONS: dict[str, type[NoPosition]] = {
    "none": NoPosition,
    "learned": Learned,
    "sinusoidal": Sinusoidal,
    "rope": Rope,
    "alibi": Alibi,
}
