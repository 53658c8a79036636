"""Token embedding of S independent models."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt.model.init import TABLE, Kind


class Embedding(nn.Module):
    """A table of V vectors for each seed; all tables are gathered from at once, at row token + s * V."""

    kinds: ClassVar[Mapping[str, Kind]] = {"weight": TABLE}

    def __init__(self, seeds: int, vocabulary: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(seeds, vocabulary, width))

    def forward(self, tokens_SBT: Tensor) -> Tensor:
        """(S, B, T) integers -> (S, B, T, D)."""
        seeds, vocabulary, width = self.weight.shape
        offset_S11 = torch.arange(seeds, device=tokens_SBT.device).view(-1, 1, 1) * vocabulary
        return F.embedding(tokens_SBT + offset_S11, self.weight.view(seeds * vocabulary, width))
