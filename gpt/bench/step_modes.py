"""The ways of computing a step, timed in turns."""

import sys

from gpt.bench.device import release_memory
from gpt.bench.spread import FULL, Effort, alternate
from gpt.bench.steps import TrainingSteps
from gpt.config import with_values
from gpt.runner.workspace import Workspace
from gpt.study.plan import PlannedRun
from gpt.train.engines.step_modes import available_modes


def time_modes(
    planned: PlannedRun, workspace: Workspace, seeds_together: int, effort: Effort = FULL
) -> dict[str, list[float]]:
    """Seconds of steps of a run in every way that it could have on this device.

    A way that fails here, for lack of a compiler or of memory, is left out and named; the plain one may not.
    """
    config, data = planned.config, workspace.corpora.load(planned.config)
    seeds = range(planned.seed, planned.seed + seeds_together)
    modes, arms = available_modes(config, workspace.device, ranks=1), {}
    for mode in modes:
        print(f"gpt: train.step auto: measuring {mode} steps", file=sys.stderr, flush=True)
        try:
            arm = TrainingSteps(with_values(config, {"train.step": mode}, "train.step"), data, workspace, seeds)
            arm.warm_up(quick=effort is not FULL)
            arms[mode] = arm
        except RuntimeError as error:
            if mode == modes[0]:
                raise
            why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            print(f"gpt: train.step auto: {mode} steps fail here: {why}", file=sys.stderr, flush=True)
    for arm in arms.values():
        arm.steps_a_sample = arms[modes[0]].steps_a_sample
    timed = dict(zip(arms, alternate(list(arms.values()), effort), strict=True))
    del arm, arms
    release_memory(workspace.device)
    return {mode: spread.samples for mode, spread in timed.items()}
