"""How much memory training takes at its peak, predicted from shapes: nothing is computed and nothing allocated.

A step with its update measured, an evaluation and all probes are run through on tensors that have shapes alone, and
what is alive at once is added up. Those are plain steps; compiled ones hold less. Torch's own kernels need some memory
besides, and an allocator loses some, for which `ROOM` leaves space.

Shapes: S seed.
"""

import weakref
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gpt.config import RunConfig
from gpt.model.gpt import GPT
from gpt.probes.protocol import WINDOWS, measure_all, probes_of
from gpt.train.engines.single_process import SingleProcessEngine

ROOM = 0.8
"""share of a device's memory that a prediction may fill"""
CPU = torch.device("cpu")


class Allocations(TorchDispatchMode):
    """Counts the bytes of all tensors that are made while it is on, for as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and (key := tensor.untyped_storage()._cdata) not in self._known:
                storage = tensor.untyped_storage()
                self._known.add(key)
                self._now += storage.nbytes()
                self.peak = max(self.peak, self._now)
                weakref.finalize(storage, self._freed, key, storage.nbytes())
        return made

    def _freed(self, key: int, count: int) -> None:
        self._known.discard(key)
        self._now -= count


class Unfilled(GPT):
    """A model without weights, which stays where it is."""

    def to(self, *_args: Any, **_options: Any) -> Self:
        return self


class ShapesEngine(SingleProcessEngine):
    """The plain engine with a model whose weights are not drawn."""

    def initial_model(self) -> GPT:
        return Unfilled(self.config.model, self.vocabulary, len(self.seeds))


def peak_memory(config: RunConfig, vocabulary: int, seeds: int) -> int:
    """Bytes at the peak of training so many seeds together in one process."""
    from torch._subclasses.fake_tensor import FakeTensorMode  # takes a second

    model, train, probes = config.model, config.train, config.probes
    long = torch.int64
    with FakeTensorMode(allow_non_fake_inputs=True), Allocations() as held:
        engine = ShapesEngine(config, vocabulary, range(seeds), CPU)
        for step in (1, 2):  # the second with the optimizer's state
            batch_SBT = torch.zeros(seeds, train.batch_size, model.context + 1, dtype=long)
            engine.train_step(step, batch_SBT, config.optim.lr, measure_updates=probes.every > 0)
        engine.evaluate(torch.zeros(train.eval_batch_size, model.context + 1, dtype=long))
        read = dict.fromkeys(WINDOWS, torch.zeros(probes.windows, model.context, dtype=long))
        for _ in measure_all(probes_of(probes) if probes.every else (), read, engine.observe):
            pass
        return held.peak


def most_seeds(config: RunConfig, vocabulary: int, memory: int) -> int:
    """The most seeds together whose peak is predicted to fit into so many bytes; at least 1.

    Every tensor leads with the seed axis, so that from two seeds on each one more takes the same.
    """
    two, three = (peak_memory(config, vocabulary, seeds) for seeds in (2, 3))
    room = ROOM * memory
    return max(1, 2 + int((room - two) // (three - two))) if room >= two else 1
