"""How the order of tokens reaches the model: added to the stream, turned into queries and keys, or biasing the logits.

Shapes: S seed, B batch, T position, U key position, H heads, K head width, D model width.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from gpt.config import ModelConfig
from gpt.errors import InputError
from gpt.model.init import INITIALISATIONS, TABLE, Kind
from gpt.registry import Registry, Variant

BASE = 10_000.0


class PositionEncoding(nn.Module, Variant):
    """Three places at which positions may enter, each of which lets everything pass; a kind replaces one of them."""

    ends_with_context: ClassVar[bool] = False
    """whether positions beyond the trained context have no meaning"""
    kinds: ClassVar[Mapping[str, Kind]] = {}
    """what its own parameters are"""

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__()
        self.check(config)

    def add(self, x_SBTD: Tensor) -> Tensor:
        """Positions added to the token embeddings."""
        return x_SBTD

    def rotate(self, x_SBHTK: Tensor) -> Tensor:
        """Positions turned into a query or a key."""
        return x_SBHTK

    def bias_HTU(self, length: int) -> Tensor | None:
        """Positions added to the attention logits."""
        return None


POSITIONS = Registry("model.position", PositionEncoding)


@POSITIONS.register("none")
class NoPosition(PositionEncoding):
    """No position at all: the causal mask alone tells the order (Haviv et al. 2022)."""


@POSITIONS.register("learned")
class Learned(PositionEncoding):
    """A free vector for each position (Gehring et al. 2017; GPT-2)."""

    ends_with_context = True
    kinds: ClassVar[Mapping[str, Kind]] = {"weight": TABLE}

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__(config, seeds)
        self.weight = nn.Parameter(torch.empty(seeds, config.context, config.width))

    def add(self, x_SBTD: Tensor) -> Tensor:
        return x_SBTD + self.weight[:, None, : x_SBTD.shape[2]]


@POSITIONS.register("sinusoidal")
class Sinusoidal(PositionEncoding):
    """Fixed waves of geometrically spaced lengths (Vaswani et al. 2017, section 3.5).

    The paper adds waves of amplitude one to embeddings scaled to unit variance. Both are scaled down alike here, by
    the embeddings' initial standard deviation, so that the ratio between the two is the paper's.
    """

    @classmethod
    def check(cls, config: ModelConfig) -> None:
        if config.width % 2:
            raise InputError(f"sinusoidal positions need an even width, got {config.width}")

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__(config, seeds)
        table_TD = sinusoids(config.context, config.width) * INITIALISATIONS[config.init](config).table_std()
        self.register_buffer("table_TD", table_TD, persistent=False)
        self.table_TD: Tensor

    def add(self, x_SBTD: Tensor) -> Tensor:
        return x_SBTD + self.table_TD[: x_SBTD.shape[2]]


def sinusoids(length: int, width: int) -> Tensor:
    """(T, D): sine in even columns, cosine in odd ones, of t / 10000^(2i/D)."""
    t_T1 = torch.arange(length, dtype=torch.float64)[:, None]
    rate_F = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(BASE) / width))
    return torch.stack([torch.sin(t_T1 * rate_F), torch.cos(t_T1 * rate_F)], dim=-1).flatten(1).float()


@POSITIONS.register("rope")
class Rope(PositionEncoding):
    """Rotary positions (Su et al. 2021, equation 34): the pair (i, i + K/2) of a query or key turns by t * rate_i.

    A turned query times a turned key depends on their positions through t - u only.
    """

    @classmethod
    def check(cls, config: ModelConfig) -> None:
        if config.head_width % 2:
            raise InputError(f"rope needs an even head width, got width / heads = {config.head_width}")

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__(config, seeds)
        cos_TK, sin_TK = rotations(config.context, config.head_width)
        self.register_buffer("cos_TK", cos_TK, persistent=False)
        self.register_buffer("sin_TK", sin_TK, persistent=False)
        self.cos_TK: Tensor
        self.sin_TK: Tensor

    def rotate(self, x_SBHTK: Tensor) -> Tensor:
        return turn(x_SBHTK, self.cos_TK, self.sin_TK)


def rotations(length: int, width: int) -> tuple[Tensor, Tensor]:
    """(T, K) twice: what a value and its partner, half the width away, are multiplied by at each position."""
    rate_F = BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle_TF = torch.arange(length, dtype=torch.float64)[:, None] * rate_F
    cos_TF, sin_TF = torch.cos(angle_TF).float(), torch.sin(angle_TF).float()
    return torch.cat([cos_TF, cos_TF], dim=-1), torch.cat([-sin_TF, sin_TF], dim=-1)


def turn(x_SBHTK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Each pair (i, i + K/2) turned by its angle at its position."""
    length, width = x_SBHTK.shape[-2:]
    partner_SBHTK = x_SBHTK.roll(width // 2, dims=-1)
    return x_SBHTK * cos_TK[:length] + partner_SBHTK * sin_TK[:length]


@POSITIONS.register("alibi")
class Alibi(PositionEncoding):
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
