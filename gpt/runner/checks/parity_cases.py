"""The layouts that the gradient parity covers, each with the case of a single process that it is compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpt.config import RunConfig, with_values
from gpt.train.engines.kinds import DEFAULT, EngineKind, Parity, engine_kinds
from gpt.yaml_file import parse

BOUND = 1e-5
"""largest relative error against a single process"""
BF16_BOUND = 5e-3
"""the same in bf16, where a difference in the last bit of fp32 can move a product by a whole bit of its 8"""
BF16_SPLIT_BOUND = 3e-2
"""the same in bf16 against other micro-batches: the weight gradient of each is rounded to 8 bits"""

SMALL: dict[str, Any] = {
    "model": {"layers": 2, "heads": 3, "width": 33, "context": 32, "position": "learned", "norm_placement": "pre",
              "bias": True, "dropout": 0.1, "init": "xavier"},
    "optim": {"lr": 1e-2, "warmup_steps": 2, "clip": 0.5},
    "train": {"steps": 6, "batch_size": 8, "eval_every": 6, "eval_batch_size": 4},
}  # fmt: skip
"""a run with much that could go wrong: tied embeddings, biases, dropout, another learning rate at each step, odd
numbers of weights and of evaluation chunks, norms above the clip limit and above 1 (DeepSpeed's own limit)"""
SEPARATE = [[0], [1]]
TOGETHER = [[0, 1]]


@dataclass(frozen=True)
class Case:
    """One layout, and the case of a single process that it is compared with."""

    name: str
    ranks: int
    against: str
    engine: str = DEFAULT
    """a key of `engine_kinds`"""
    seed_batches: Sequence[Sequence[int]] = tuple(map(tuple, SEPARATE))
    micro_batch: int | None = None
    values: Mapping[str, Any] | None = None
    """fields that differ from `SMALL`"""
    bound: float = BOUND
    watched: bool = False
    """whether an evaluation and a probe come between steps, whose updates are measured"""

    @property
    def launch(self) -> tuple[int, str]:
        """Cases with the same launch are computed by the same processes."""
        return self.ranks, self.engine

    @property
    def asked(self) -> dict[str, Any]:
        """What the ranks are told."""
        values = {"train.micro_batch_size": self.micro_batch, **(self.values or {})}
        config = with_values(parse(RunConfig, SMALL, "gradient parity"), values, self.name)
        count = config.train.batch_size // (self.micro_batch or config.train.batch_size // self.ranks)
        config = with_values(config, {"probes.noise_scale": count > 1}, self.name)
        return {
            "config": config.model_dump(mode="json"),
            "seed batches": [list(seed_batch) for seed_batch in self.seed_batches],
            "watched": self.watched,
        }


SPLIT = {2: "2 micro-batches", 4: "4 micro-batches"}
SPLIT_BF16 = {count: f"{name}, bf16" for count, name in SPLIT.items()}
"""cases of a single process whose micro-batches are those of 2 ranks and of 4"""
REFERENCE, BF16, UNCLIPPED, RANK_INVARIANT = (
    "single process",
    "single process, bf16",
    "single process, no clipping",
    "rank-invariant, 1 rank",
)
_BF16 = {"train.precision": "bf16"}
_UNCLIPPED = {"optim.clip": None}
RANK_INVARIANT_SUM = {"train.reduction": "rank_invariant"}


def cases() -> list[Case]:
    """Every case, references first."""
    listed = [
        Case(REFERENCE, 1, REFERENCE),
        Case(BF16, 1, BF16, values=_BF16),
        Case(UNCLIPPED, 1, UNCLIPPED, values=_UNCLIPPED),
        Case("2 seeds together", 1, REFERENCE, seed_batches=TOGETHER),
        Case(SPLIT[2], 1, REFERENCE, micro_batch=4),
        Case(SPLIT[4], 1, REFERENCE, micro_batch=2),
        Case("2 seeds together, bf16", 1, BF16, seed_batches=TOGETHER, values=_BF16, bound=BF16_BOUND),
        Case(SPLIT_BF16[2], 1, BF16, micro_batch=4, values=_BF16, bound=BF16_SPLIT_BOUND),
        Case(SPLIT_BF16[4], 1, BF16, micro_batch=2, values=_BF16, bound=BF16_SPLIT_BOUND),
        Case(RANK_INVARIANT, 1, REFERENCE, micro_batch=2, values=RANK_INVARIANT_SUM),
        Case("rank-invariant, 2 ranks", 2, RANK_INVARIANT, micro_batch=2, values=RANK_INVARIANT_SUM, bound=0.0),
        Case("rank-invariant, 4 ranks", 4, RANK_INVARIANT, micro_batch=2, values=RANK_INVARIANT_SUM, bound=0.0),
    ]
    for kind in engine_kinds().values():
        for parity in kind.parity:
            listed += _cases_of(kind, parity)
    return listed


def _cases_of(kind: EngineKind, parity: Parity) -> list[Case]:
    name, ranks = f"{kind.title}, {parity.ranks} ranks", parity.ranks
    listed = [Case(name, ranks, REFERENCE, kind.name)]
    if parity.thorough:
        split = SPLIT_BF16[ranks]
        listed += [
            Case(f"{name}, 2 seeds together", ranks, REFERENCE, kind.name, seed_batches=TOGETHER),
            Case(f"{name}, no clipping", ranks, UNCLIPPED, kind.name, values=_UNCLIPPED),
            Case(f"{name}, bf16", ranks, split, kind.name, values=_BF16, bound=BF16_BOUND),
        ]
    if parity.thorough and ranks == 2:
        listed.append(Case(f"{name}, 2 micro-batches each", ranks, REFERENCE, kind.name, micro_batch=2))
    return listed
