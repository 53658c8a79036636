"""Dropout whose mask is a pure function of (seed, step, site, sample, element).

A mask is a hash of the element's number, so batching seeds or spreading samples over ranks leaves it as it is, and the
same mask comes out on a CPU and on a GPU.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gpt import randomness

_MASK32 = 0xFFFFFFFF


@dataclass(frozen=True)
class DropoutKey:
    """What a training step's dropout masks are keyed by."""

    seeds: tuple[int, ...]
    step: int
    samples: range
    """the global numbers of the samples in this batch"""


def mix32(x: Tensor) -> Tensor:
    """A bijection of 32-bit numbers, held in int64, with good avalanche (Appleby's MurmurHash3 finaliser)."""
    x = x ^ (x >> 16)
    x = (x * 0x85EBCA6B) & _MASK32
    x = x ^ (x >> 13)
    x = (x * 0xC2B2AE35) & _MASK32
    return x ^ (x >> 16)


class Dropout(nn.Module):
    """Zero a share of the elements and scale up the rest (Srivastava et al. 2014); without dropout_key, do nothing."""

    def __init__(self, rate: float, site: str):
        super().__init__()
        self.rate = rate
        self.site = site

    def forward(self, x: Tensor, dropout_key: DropoutKey | None) -> Tensor:
        """(S, B, ...) -> (S, B, ...)."""
        if dropout_key is None or self.rate == 0.0:
            return x
        return x * self.keep(x.shape, dropout_key, x.device) / (1 - self.rate)

    def keep(self, shape: torch.Size, dropout_key: DropoutKey, device: torch.device) -> Tensor:
        """(S, B, ...) booleans: which elements stay."""
        per_sample = shape[2:].numel()
        assert max(dropout_key.samples) * per_sample + per_sample <= 2**32, "more elements than the hash tells apart"
        words = [int(randomness.raw(s, f"dropout/{self.site}", 1, dropout_key.step)[0]) for s in dropout_key.seeds]
        low_S11 = torch.tensor([w & _MASK32 for w in words], device=device).view(-1, 1, 1)
        high_S11 = torch.tensor([w >> 32 for w in words], device=device).view(-1, 1, 1)
        sample_B1 = torch.tensor(dropout_key.samples, device=device)[:, None] * per_sample
        element_BE = sample_B1 + torch.arange(per_sample, device=device)
        hashed_SBE = mix32((mix32(element_BE ^ low_S11) + high_S11) & _MASK32)
        return (hashed_SBE >= round(self.rate * 2**32)).view(shape)
