"""The learning rate as a pure function of the step."""

import math
from abc import abstractmethod

from gpt.config import OptimConfig
from gpt.registry import Registry, Variant


class Schedule(Variant):
    """How the learning rate falls, once the warm-up is over."""

    @classmethod
    @abstractmethod
    def share(cls, progress: float, optim: OptimConfig) -> float:
        """Share of the peak rate, at a progress from 0 (the first step after the warm-up) to 1 (the last one)."""


SCHEDULES = Registry("optim.schedule", Schedule)


@SCHEDULES.register("cosine")
class Cosine(Schedule):
    """Half a cosine down to the final rate (Loshchilov and Hutter 2017, equation 5, without restarts)."""

    @classmethod
    def share(cls, progress: float, optim: OptimConfig) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return optim.final_lr_ratio + (1 - optim.final_lr_ratio) * cosine


def learning_rate(step: int, steps: int, optim: OptimConfig) -> float:
    """Rate of update `step` (1 to `steps`): linear warm-up, then as the schedule has it."""
    assert 1 <= step <= steps
    if step <= optim.warmup_steps:
        return optim.lr * step / (optim.warmup_steps + 1)
    progress = (step - 1 - optim.warmup_steps) / max(1, steps - 1 - optim.warmup_steps)
    return optim.lr * SCHEDULES[optim.schedule].share(progress, optim)
