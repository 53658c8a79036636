"""How long a step of so many seeds takes, and how many fit."""

import sys
from collections.abc import Sequence

from gpt.bench.device import release_memory
from gpt.bench.spread import Effort, alternate
from gpt.bench.steps import TrainingSteps
from gpt.config import with_values
from gpt.fields import canonical
from gpt.runner.memory import most_seeds
from gpt.runner.workspace import Workspace
from gpt.study.plan import PlannedRun

SHORT = Effort(rounds=5, fewest=3, seconds=3.0)


def time_seeds(planned: PlannedRun, count: int, workspace: Workspace, effort: Effort = SHORT) -> list[float]:
    """Seconds of plain steps of so many seeds together, which need more seeds to fill a device, and more memory, than
    compiled ones.
    """
    print(f"gpt: --seeds-per-process auto: measuring {count} together", file=sys.stderr, flush=True)
    config = with_values(planned.config, {"train.step": "eager"}, "train.step")
    seeds = range(planned.seed, planned.seed + count)
    release_memory(workspace.device)  # what the last measurement held
    steps = TrainingSteps(config, workspace.corpora.load(config), workspace, seeds)
    steps.warm_up(quick=False)
    (spread,) = alternate([steps], effort)
    return spread.samples


def most_that_fit(runs: Sequence[PlannedRun], workspace: Workspace, memory: int) -> int:
    """The most seeds together that are predicted to fit into so many bytes, whichever of the runs they are of."""
    shapes = {}
    for run in runs:
        shape = {
            name: getattr(run.config, name).model_dump(mode="json") for name in ("data", "model", "train", "probes")
        }
        shapes[canonical(shape)] = run.config
    return min(
        most_seeds(config, workspace.corpora.load(config).tokenizer.vocabulary_size, memory)
        for config in shapes.values()
    )
