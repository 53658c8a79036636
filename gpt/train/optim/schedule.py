"""The learning rate as a pure function of the step."""

import math

from gpt.config import OptimConfig


def learning_rate(step: int, steps: int, optim: OptimConfig) -> float:
    """Rate of update `step` (1 to `steps`): linear warm-up, then half a cosine down to the final rate.

    Source: Loshchilov and Hutter 2017 (cosine annealing, equation 5, without restarts).
    """
    assert 1 <= step <= steps
    if step <= optim.warmup_steps:
        return optim.lr * step / (optim.warmup_steps + 1)
    progress = (step - 1 - optim.warmup_steps) / max(1, steps - 1 - optim.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return optim.lr * (optim.final_lr_ratio + (1 - optim.final_lr_ratio) * cosine)
