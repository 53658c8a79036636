"""Intermediate values that a forward pass hands back when asked for them."""

from collections import defaultdict
from collections.abc import Collection

from torch import Tensor

INTERMEDIATES = {
    "residual": "(S, B, T, D) stream after the embedding and after each block",
    "attention": "(S, B, H, T, U) attention weights of each block; asking for them takes the explicit path",
    "attention_logits": "(S, B, H, T, U) what the softmax of each block's attention is taken of, but for the mask",
    "mlp": "(S, B, T, F) hidden units of each block's feed-forward part, after the nonlinearity",
}


class Intermediates:
    """Collects the wanted values, layer by layer; the rest are let go at once."""

    def __init__(self, capture: Collection[str] = ()):
        unknown = set(capture) - set(INTERMEDIATES)
        assert not unknown, f"no such intermediates: {sorted(unknown)}"
        self.names = frozenset(capture)
        self.values: dict[str, list[Tensor]] = defaultdict(list)

    def keep(self, name: str, value: Tensor) -> None:
        if name in self.names:
            self.values[name].append(value)
