"""Data parallel with a sum of gradients whose bits do not depend on the number of ranks.

Addition of floating-point numbers is not associative, so an all-reduce gives other bits at every number of ranks. Here
the gradients of single micro-batches travel, and every element is added up by one rank in the order of the
micro-batches' numbers.

Shapes: A micro-batches of this rank, M of all ranks, N elements of the gradient, C elements that a rank adds up.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import pad

from gpt.config import RunConfig
from gpt.train.engines.ranks import Ranks
from gpt.train.engines.replicated import ReplicatedEngine, require


class RankInvariantEngine(ReplicatedEngine):
    """Keeps the gradient of each micro-batch until all are there."""

    name = "rank-invariant"

    def __init__(self, config: RunConfig, vocabulary: int, seeds: Sequence[int], device: torch.device, ranks: Ranks):
        super().__init__(config, vocabulary, seeds, device, ranks)
        self.divisor *= ranks.size  # the sum over ranks is no average
        self._gradients_AN: list[Tensor] = []

    @contextmanager
    def _micro_batch(self, samples: range) -> Iterator[None]:
        yield
        self._gradients_AN.append(torch.cat([require(p.grad).flatten() for p in self.parameters.values()]))
        self.optimizer.zero_grad(set_to_none=True)

    def _reduce(self) -> None:
        """Give each parameter its part of the sum, copied: a kernel may add up otherwise at another alignment."""
        sum_N = rank_invariant_sum(self._gradients_AN, self.ranks)
        self._gradients_AN.clear()
        parts = sum_N.split([p.numel() for p in self.parameters.values()])
        for p, part in zip(self.parameters.values(), parts, strict=True):
            p.grad = part.view_as(p).clone()


def rank_invariant_sum(parts_AN: Sequence[Tensor], ranks: Ranks) -> Tensor:
    """(N,): ((g_0 + g_1) + g_2) + ... over the M micro-batches of all ranks, the same bits on every rank.

    Each rank sends A N elements and receives as many, then receives the N sums; an all-reduce moves about 2 N.

    Args:
        parts_AN: the gradients of this rank's micro-batches, in order; every rank has equally many.
    """
    length = parts_AN[0].numel()
    chunk = -(-length // ranks.size)
    sent_RAC = parts_AN[0].new_empty(ranks.size, len(parts_AN), chunk)
    for i, part_N in enumerate(parts_AN):
        sent_RAC[:, i] = pad(part_N, (0, ranks.size * chunk - length)).view(ranks.size, chunk)
    received_RAC = torch.empty_like(sent_RAC)
    dist.all_to_all_single(received_RAC, sent_RAC)
    parts_MC = received_RAC.flatten(0, 1)
    sum_C = parts_MC[0].clone()
    for part_C in parts_MC[1:]:
        sum_C += part_C
    sums_RC = [torch.empty_like(sum_C) for _ in range(ranks.size)]
    dist.all_gather(sums_RC, sum_C)
    return torch.cat(sums_RC)[:length]
