"""Norms for each seed and layer, and clipping for each seed.

Shapes: S seed, L layer, P parameter tensor.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

TINY = 1e-6


def layer_norms(tensors: Iterable[Tensor], layers: Sequence[int], count: int) -> Tensor:
    """(S, L): Euclidean norm over all tensors of a layer.

    Args:
        tensors: each (S, ...).
        layers: the layer that each tensor belongs to, below `count`, in ascending order.
    """
    assert list(layers) == sorted(layers)
    norm_SP = torch.stack([torch.linalg.vector_norm(t.flatten(1), dim=1) for t in tensors], dim=1)
    of_layers = norm_SP.split([layers.count(layer) for layer in range(count)], dim=1)
    return torch.stack([torch.linalg.vector_norm(norm_SP, dim=1) for norm_SP in of_layers], dim=1)


def clip_scale(norm_S: Tensor, limit: float | None) -> Tensor:
    """(S,): the factor that brings each seed's gradient down to the limit, at most 1 (Pascanu et al. 2013)."""
    if limit is None:
        return torch.ones_like(norm_S)
    return (limit / (norm_S + TINY)).clamp(max=1.0)


@torch.no_grad()
def scale_gradients(gradients: Iterable[Tensor], scale_S: Tensor) -> None:
    """Multiply each seed's part of every gradient by its factor, in place."""
    for gradient in gradients:
        gradient.mul_(scale_S.view(-1, *[1] * (gradient.ndim - 1)))
