"""Training steps of one engine, as the training loop takes them, without what the loop does beside them."""

import time
from collections.abc import Sequence

from gpt.bench.device import synchronize
from gpt.config import RunConfig
from gpt.data.dataset import Dataset
from gpt.runner.workspace import Workspace
from gpt.train.engines.deterministic import set_deterministic
from gpt.train.engines.engine import StepOut
from gpt.train.engines.kinds import engine_kinds
from gpt.train.engines.ranks import SINGLE, Ranks
from gpt.train.optim.schedule import learning_rate
from gpt.train.prefetch import Batches

WARM_STEPS = 3
"""steps before any is timed"""
SHORTEST_SAMPLE = 0.05
"""seconds; shorter steps are timed several at once, so that the device is waited for rarely"""


class TrainingSteps:
    """An arm of `gpt.bench.spread.alternate`: each call trains on, and gives the seconds of one step."""

    def __init__(
        self, config: RunConfig, data: Dataset, workspace: Workspace, seeds: Sequence[int], ranks: Ranks = SINGLE
    ):
        self.config, self.data, self.seeds = config, data, list(seeds)
        build = engine_kinds()[workspace.engine].build
        self.engine = build(config, data.tokenizer.vocabulary_size, seeds, workspace.device, ranks)
        order = [config.data.order_of(seed) for seed in seeds]
        self.batches = Batches(data.train, order, self.engine.samples, config.model.context, self.engine.device)
        self.step = 0
        self.outs: list[StepOut] = []
        """of each step so far"""
        self.synchronize = synchronize(self.engine.device)
        self.steps_a_sample = 1

    @property
    def tokens(self) -> int:
        """Tokens that one step learns from, of all seeds together."""
        return len(self.seeds) * self.config.train.batch_size * self.config.model.context

    def take(self, count: int, measure_updates: bool = False) -> None:
        """Train so many steps more; the schedule's last rate holds on after its end."""
        set_deterministic(self.config.train.deterministic)
        for _ in range(count):
            self.step += 1
            in_schedule = min(self.step, self.config.train.steps)
            lr = learning_rate(in_schedule, self.config.train.steps, self.config.optim)
            out = self.engine.train_step(self.step, self.batches.at(self.step), lr, measure_updates)
            self.outs.append(out)

    def warm_up(self, quick: bool) -> None:
        """Take the first steps, which are slower, and find out how many make one sample."""
        self.take(1 if quick else WARM_STEPS)
        seconds = self()
        if not quick:
            self.steps_a_sample = max(1, round(SHORTEST_SAMPLE / seconds))

    def __call__(self) -> float:
        self.synchronize()
        began = time.perf_counter()
        self.take(self.steps_a_sample)
        self.synchronize()
        return (time.perf_counter() - began) / self.steps_a_sample
