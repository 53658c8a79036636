"""Dropout whose mask is a pure function of (seed, step, site, sample, element).

A mask is a hash of the element's number, so batching seeds or spreading samples over ranks leaves it as it is, and the
same mask comes out on a CPU and on a GPU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gpt.randomness import raw_of_steps

_SIGN = -(2**31)
"""the lowest number of 32 bits with a sign, which is how torch holds them"""


@dataclass(frozen=True)
class DropoutKey:
    """What a training step's dropout masks are keyed by; what changes from step to step is no Python number.

    A compiled step is compiled anew for other numbers, and not for other tensors.
    """

    samples: range
    """the global numbers of the samples in this batch"""
    words: Mapping[str, Tensor]
    """(2, S) of each site, int32: lower and upper half of each seed's word for this step"""


def draw_key(sites: Sequence[str], samples: range, words_X2S: Tensor) -> DropoutKey:
    """The key of one step of seeds trained together.

    Args:
        sites: see `dropout_sites`.
        words_X2S: those of the step, see `draw_words`.
    """
    return DropoutKey(samples, dict(zip(sites, words_X2S, strict=True)))


def draw_words(sites: Sequence[str], seeds: Sequence[int], steps: range) -> Tensor:
    """(steps, X, 2, S): the words of `DropoutKey` of every site and step."""
    words_NXS = raw_of_steps(seeds, [f"dropout/{site}" for site in sites], steps, 1)[..., 0]
    halves_NX2S = np.stack([words_NXS, words_NXS >> np.uint64(32)], axis=2).astype(np.uint32)
    return torch.from_numpy(halves_NX2S.view(np.int32))


def mix32(x: Tensor) -> Tensor:
    """A bijection of 32-bit numbers, int32, with good avalanche (Appleby's MurmurHash3 finaliser).

    Products wrap; a shift to the right brings the sign with it, which a mask takes away.
    """
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * (0x85EBCA6B + 2 * _SIGN)
    x = x ^ ((x >> 13) & 0x7FFFF)
    x = x * (0xC2B2AE35 + 2 * _SIGN)
    return x ^ ((x >> 16) & 0xFFFF)


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
        sample_B = torch.arange(samples.start, samples.stop, samples.step, device=words_2S.device, dtype=torch.int32)
        element_E = torch.arange(per_sample, device=words_2S.device, dtype=torch.int32)
        element_BE = sample_B[:, None] * per_sample + element_E  # above 2**31 it wraps
        hashed_SBE = mix32(mix32(element_BE ^ low_S11) + high_S11)
        return ((hashed_SBE ^ _SIGN) >= round(self.rate * 2**32) + _SIGN).view(shape)  # as numbers without a sign


def dropout_sites(model: nn.Module) -> list[str]:
    """Where a model drops something."""
    return [part.site for part in model.modules() if isinstance(part, Dropout) and part.rate > 0]
