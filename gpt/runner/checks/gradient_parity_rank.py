"""What the ranks of a parity do: a few training steps of every case, by the engine that the launch asks for.

accelerate launch ... -m gpt.runner.checks.gradient_parity_rank CASES.json ANSWERS.json
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpt.config import RunConfig
from gpt.data.batches import consecutive_windows, training_batch
from gpt.model.intermediates import INTERMEDIATES
from gpt.randomness import integers
from gpt.runner.launch.accelerate import parent_command, read_launch
from gpt.runner.launch.exit_codes import end_process
from gpt.runner.ranks.group import RankGroup, RankPosition, backend_for
from gpt.runner.ranks.launched import open_store
from gpt.runner.ranks.local import device_of
from gpt.train.engines.engine import Engine
from gpt.train.engines.kinds import DEFAULT, engine_kinds
from gpt.train.engines.ranks import SINGLE, Ranks
from gpt.train.optim.schedule import learning_rate
from gpt.yaml_file import parse

VOCABULARY = 65
TEXT: NDArray[np.int64] = integers(0, "certificate", 20_000, VOCABULARY)
"""without meaning: the comparison asks for equal gradients, not for learning"""
WINDOWS = 22
TIMEOUT_SECONDS = 120.0
TIMED_STEPS = 30


def main() -> None:
    asked, answers = (Path(argument) for argument in sys.argv[1:])
    cases = json.loads(asked.read_text())
    torch.set_num_threads(1)
    launch = read_launch(os.environ, parent_command(), torch.cuda.device_count())
    cuda = torch.cuda.is_available() and not (launch and launch.cpu)
    device = device_of(torch.device("cuda" if cuda else "cpu"), launch.local_rank if launch else 0)
    engine = launch.engine if launch else DEFAULT
    if launch is None:
        answers.write_text(json.dumps(answer(cases, engine, device, SINGLE)))
        return
    position = RankPosition(launch.rank, launch.world, launch.world)
    group = RankGroup(
        position, open_store(launch, TIMEOUT_SECONDS), backend_for(device), TIMEOUT_SECONDS, lambda: False
    )
    group.init()
    results = answer(cases, engine, device, group.ranks)
    if group.ranks.is_main:
        answers.write_text(json.dumps(results))
    group.destroy()
    end_process(0)


Build = Callable[[RunConfig, Sequence[int]], Engine]
"""makes the engine of a run's seeds"""


def answer(cases: dict[str, Any], engine: str, device: torch.device, ranks: Ranks) -> dict[str, Any]:
    """For each named case what its steps measured; a case with a rival is timed against it.

    Args:
        engine: a key of `engine_kinds`.
    """
    results: dict[str, Any] = {}

    def build(config: RunConfig, seeds: Sequence[int]) -> Engine:
        return engine_kinds()[engine].build(config, VOCABULARY, seeds, device, ranks)

    for name, case in cases.items():
        config = parse(RunConfig, case["config"], name)
        if "rival" in case:
            rival = parse(RunConfig, case["rival"], name)
            results[name] = step_time_ratios(config, rival, build)
        else:
            results[name] = train_case(config, case["seed batches"], build, case.get("watched", False))
    return results


def train_case(
    config: RunConfig, seed_batches: Sequence[Sequence[int]], build: Build, watched: bool = False
) -> dict[str, Any]:
    """Train seed batches, one seed batch after the other, and evaluate them.

    Args:
        watched: evaluate and probe after every step, and measure its update.

    Returns:
        Arrays with the axes [seed][step]... ([seed][window] for `evaluation`), seeds in the order of the seed batches,
        how they were computed, and how often the engine fell back to another way.
    """
    keys = ("loss", "layer_norm", "clip_scale", "micro_batch_norm", "evaluation")
    measured: dict[str, list[Any]] = {key: [] for key in keys}
    windows = torch.from_numpy(consecutive_windows(TEXT[: WINDOWS * config.model.context + 1], config.model.context))
    fallbacks = 0
    for seeds in seed_batches:
        engine = build(config, seeds)
        outs = []
        for step in range(1, config.train.steps + 1):
            batch = batch_for(config, engine.samples, seeds, step)
            lr = learning_rate(step, config.train.steps, config.optim)
            outs.append(engine.train_step(step, batch, lr, measure_updates=watched))
            if watched:
                engine.evaluate(windows[:4])
                engine.observe(windows[:2, :-1], INTERMEDIATES)
        engine.settle()
        fallbacks += len(engine.take_events())
        columns = {
            "loss": torch.stack([out.loss_S for out in outs], dim=1),
            "layer_norm": torch.stack([out.layer_grad_norm_SL for out in outs], dim=1),
            "clip_scale": torch.stack([out.clip_scale_S for out in outs], dim=1),
            "evaluation": engine.evaluate(windows),
        }
        if config.probes.noise_scale:
            columns["micro_batch_norm"] = torch.stack(
                [out.micro_batch_norm_SM for out in outs if out.micro_batch_norm_SM is not None], dim=1
            )
        for key, column in columns.items():
            measured[key] += column.tolist()
        size = engine.ranks.size
        how = {"engine": engine.name, "ranks": size, "micro_batches": len(engine.micro_batches) * size}
        engine.close()
    return {**measured, **how, "fallbacks": fallbacks}


def step_time_ratios(config: RunConfig, rival: RunConfig, build: Build) -> list[float]:
    """Seconds of a step over those of the rival's step right before it, for `TIMED_STEPS` pairs of one seed."""
    engines = [build(c, [0]) for c in (rival, config)]
    ratios = []
    for step in range(1, TIMED_STEPS + 6):
        seconds = []
        for engine, run in zip(engines, (rival, config), strict=True):
            batch = batch_for(run, engine.samples, [0], step)
            engine.ranks.any(False)  # start together
            began = time.perf_counter()
            float(engine.train_step(step, batch, run.optim.lr, False).grad_norm_S)
            seconds.append(time.perf_counter() - began)
        ratios.append(seconds[1] / seconds[0])
    return ratios[5:]


def batch_for(config: RunConfig, samples: range, seeds: Sequence[int], step: int) -> torch.Tensor:
    """The (S, B, T+1) characters of some samples of a step."""
    return torch.from_numpy(training_batch(TEXT, seeds, step, samples, config.model.context))


if __name__ == "__main__":
    main()
