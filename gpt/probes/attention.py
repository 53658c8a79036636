"""Where each head looks: entropy of its weights, and the weights themselves on a fixed text."""

import torch
from torch import Tensor

from gpt.probes.protocol import Probe, Taps


def entropy(weights_SBHTU: Tensor) -> Tensor:
    """(S, B, H, T): entropy of each row of attention weights, nats; between 0 and ln(t) for t visible positions."""
    return torch.special.entr(weights_SBHTU.float()).sum(-1)


def attention_probe(heatmap_characters: int) -> Probe:
    """Entropy per head and heatmaps.

    Args:
        heatmap_characters: positions of the first window whose weights are kept.
    """

    def measure(taps: Taps) -> dict[str, Tensor]:
        kept = slice(heatmap_characters)
        return {
            "attention_entropy": torch.stack([entropy(w).mean((1, 3)) for w in taps["attention"]], dim=1),
            "attention_heatmap": torch.stack([w[:, 0, :, kept, kept].half() for w in taps["attention"]], dim=1),
        }

    return Probe(frozenset({"attention"}), measure)
