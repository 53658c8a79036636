"""Data parallel: DistributedDataParallel, which averages gradients over ranks (Li et al. 2020)."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.parallel import DistributedDataParallel

from gpt.config import RunConfig
from gpt.train.engines.kinds import DEFAULT, EngineKind, Parity, register
from gpt.train.engines.rank_invariant import RankInvariantEngine
from gpt.train.engines.ranks import SINGLE, Ranks
from gpt.train.engines.replicated import ReplicatedEngine
from gpt.train.engines.step_modes import STEP_MODES, check_step


class DDPEngine(ReplicatedEngine):
    """Ranks average once a step, however many micro-batches it has."""

    name = "DDP"

    def __init__(self, config: RunConfig, vocabulary: int, seeds: Sequence[int], device: torch.device, ranks: Ranks):
        super().__init__(config, vocabulary, seeds, device, ranks)
        self.averages = DistributedDataParallel(self.forward)
        self.forward = self.averages

    def _micro_batch(self, samples: range) -> AbstractContextManager[None]:
        return nullcontext() if samples == self.micro_batches[-1] else self.averages.no_sync()


REDUCTIONS: dict[str, type[ReplicatedEngine]] = {"fast": DDPEngine, "rank_invariant": RankInvariantEngine}
"""by `train.reduction`"""


def data_parallel(
    config: RunConfig, vocabulary: int, seeds: Sequence[int], device: torch.device, ranks: Ranks = SINGLE
) -> ReplicatedEngine:
    """The engine for this number of ranks."""
    check_step(config, device, ranks.size)
    kind = STEP_MODES[config.train.step] if ranks.size == 1 else REDUCTIONS[config.train.reduction]
    return kind(config, vocabulary, seeds, device, ranks)


register(
    EngineKind(
        name=DEFAULT,
        title="DDP",
        build=data_parallel,
        classes=(*STEP_MODES.values(), *REDUCTIONS.values()),
        distributed_type="MULTI_GPU",
        parity=(Parity(2), Parity(4)),
    )
)
