"""The ranks that train one seed batch together, and the few things they say to each other.

A rank is one process. Outside this file, collectives are `gpt.train.engines.rank_invariant`'s, DeepSpeed's and FSDP2's.
"""

import json
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Json = TypeVar("Json")


@dataclass(frozen=True)
class Ranks:
    """A process's place among those of torch's default process group; one process alone needs no group."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this rank reads and writes the runs' folders; one rank does."""
        return self.rank == 0

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks, in place. Where one rank alone has a number other than zero, it is exact."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether any rank says so; all ranks get the same answer."""
        if self.size == 1:
            return flag
        answer = torch.tensor([flag], dtype=torch.int32)  # on the CPU, so that a GPU's queue is not waited for
        dist.all_reduce(answer, op=dist.ReduceOp.MAX)
        return bool(answer.item())

    def broadcast_object(self, value: Json) -> Json:
        """The leading rank's value, which must come back equal from JSON; what the others pass is not looked at."""
        if self.size == 1:
            return value
        text = bytearray(json.dumps(value).encode())
        length = torch.tensor([len(text)])
        dist.broadcast(length, 0)
        data = (
            torch.frombuffer(text, dtype=torch.uint8) if self.is_main else torch.empty(int(length), dtype=torch.uint8)
        )
        dist.broadcast(data, 0)
        return json.loads(bytes(data.tolist()))

    def broadcast_tensors(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The leading rank's fp32 CPU tensors by name; what the others pass is not looked at."""
        if self.size == 1:
            return tensors
        shapes = self.broadcast_object({name: list(t.shape) for name, t in tensors.items()})
        if not self.is_main:
            tensors = {name: torch.empty(shape) for name, shape in shapes.items()}
        for tensor in tensors.values():
            dist.broadcast(tensor, 0)
        return tensors


SINGLE = Ranks()
"""one process by itself"""
