"""Dropout whose mask is a pure function of (seed, step, site, sample, element).

A mask is a hash of the element's number, so batching seeds or spreading samples over ranks leaves it as it is, and the
same mask comes out on a CPU and on a GPU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gpt import randomness

_MASK32 = 0xFFFFFFFF


@dataclass(frozen=True)
class DropoutKey:
    """What a training step's dropout masks are keyed by; what changes from step to step is no Python number.

    A compiled step is compiled anew for other numbers, and not for other tensors.
    """

    samples: range
    """the global numbers of the samples in this batch"""
    words: Mapping[str, Tensor]
    """(2, S) of each site: lower and upper half of each seed's word for this step"""


def draw_key(sites: Sequence[str], seeds: Sequence[int], step: int, samples: range, device: torch.device) -> DropoutKey:
    """The key of one step of seeds trained together.

    Args:
        sites: see `dropout_sites`.
    """
    words_X2S = draw_words(sites, seeds, step).to(device)
    return DropoutKey(samples, dict(zip(sites, words_X2S, strict=True)))


def draw_words(sites: Sequence[str], seeds: Sequence[int], step: int) -> Tensor:
    """(X, 2, S): the words of `DropoutKey` of every site."""
    words = [[int(randomness.raw(seed, f"dropout/{site}", 1, step)[0]) for seed in seeds] for site in sites]
    return torch.tensor([[[w & _MASK32 for w in of_site], [w >> 32 for w in of_site]] for of_site in words])


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
        return x * self.keep(x.shape, dropout_key) / (1 - self.rate)

    def keep(self, shape: torch.Size, dropout_key: DropoutKey) -> Tensor:
        """(S, B, ...) booleans: which elements stay."""
        per_sample = shape[2:].numel()
        samples = dropout_key.samples
        assert samples[-1] * per_sample + per_sample <= 2**32, "more elements than the hash tells apart"
        words_2S = dropout_key.words[self.site]
        low_S11, high_S11 = words_2S.view(2, -1, 1, 1)
        sample_B = torch.arange(samples.start, samples.stop, samples.step, device=words_2S.device)
        element_BE = sample_B[:, None] * per_sample + torch.arange(per_sample, device=words_2S.device)
        hashed_SBE = mix32((mix32(element_BE ^ low_S11) + high_S11) & _MASK32)
        return (hashed_SBE >= round(self.rate * 2**32)).view(shape)


def dropout_sites(model: nn.Module) -> list[str]:
    """Where a model drops something."""
    return [part.site for part in model.modules() if isinstance(part, Dropout) and part.rate > 0]
