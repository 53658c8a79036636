"""What a study will do, said before it does it: what differs, how many runs, what they cost, what they can detect."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from gpt.analysis.statistics.contrasts import ALPHA
from gpt.analysis.statistics.paired import detectable_d_z, fewest_pairs, smallest_p
from gpt.analysis.statistics.variance import detectable_sd, sd_factors
from gpt.data.batches import training_batch
from gpt.model.flops import parameter_count, training_flops_per_token
from gpt.records.formatting import count
from gpt.runner.inputs import load_data
from gpt.study.plan import PlannedRun, label, settings_of
from gpt.study.spec import Kind, Study
from gpt.train.engines.ddp import DDPEngine
from gpt.yaml_file import flatten

VARIANTS: dict[Kind, str] = {"contrasts": "variants", "components": "order seeds"}
TIMED_STEPS = 5
"""training steps that the estimate of a study's duration rests on"""


def describe_study(study: Study, runs: Sequence[PlannedRun], cache: Path) -> str:
    """A few lines for a person who is about to spend hours on this."""
    variants = [next(c for c in runs if c.variant == v and c.seed == study.seeds[0]) for v in study.variants]
    data = load_data(study.base, cache)
    vocabulary = data.tokenizer.vocabulary_size
    unique = {c.fingerprint: c for c in runs}
    seconds = sum(c.config.train.steps for c in unique.values()) * _seconds_per_step(runs[0], cache)
    lines = [
        f"{study.name}: {study.question}",
        f"  differs     {study.factor} alone: {', '.join(label(v) for v in study.variants)}",
        f"  held fixed  {len(flatten(study.base)) - 1 - len(study.settings)} other fields",
    ]
    for run in variants if study.kind == "contrasts" else variants[:1]:  # an order of batches has no size
        parameters = parameter_count(run.config.model, vocabulary)
        flops = training_flops_per_token(run.config.model, vocabulary)
        name = label(run.variant) if study.kind == "contrasts" else "each run"
        lines.append(f"  {name:<11} {parameters:,} parameters, {flops:,} training FLOPs a token")
    if study.settings:
        lines.append(
            f"  settings    {'; '.join(', '.join(f'{k} = {label(v)}' for k, v in b) for b in settings_of(study))}"
        )
    lines += [
        f"  runs        {len(unique)}: {len(study.variants)} {VARIANTS[study.kind]} x "
        f"{count(len(settings_of(study)), 'setting')} x {len(study.seeds)} seeds",
        f"  cost        about {count(max(1, round(seconds / 60)), 'minute')} of one CPU core (measured just now over "
        f"{TIMED_STEPS} steps, evaluations not counted)",
        f"  metric      {study.metric}; a difference below {study.smallest_effect:g} would not matter",
        *(_precision(study) if study.kind == "components" else _detectable(study)),
    ]
    return "\n".join(lines)


def _detectable(study: Study) -> list[str]:
    """What the number of seeds is good for, where the least p that the exact test can give is small enough at all."""
    pairs, contrasts = len(study.seeds), (len(study.variants) - 1) * len(settings_of(study))
    least = smallest_p(pairs)
    if least * contrasts > ALPHA:
        return [
            f"  can detect  no difference: by sign flips {count(pairs, 'pair')} cannot go below p = {least:.2g} "
            f"and for {count(contrasts, 'contrast')} it takes {ALPHA / contrasts:.2g} or less, and thus "
            f"{fewest_pairs(ALPHA / contrasts)} seeds"
        ]
    return [
        f"  can detect  d_z of {detectable_d_z(pairs):.2f} at 80 % power (paired t test, alpha {ALPHA:g}, before "
        f"correction); the sign-flip test can reach p = {least:.2g}, for {count(contrasts, 'contrast')}"
    ]


def _precision(study: Study) -> list[str]:
    """How well a table of runs this large tells the sources of their spread."""
    seeds, orders = len(study.seeds), len(study.variants)
    low, high = sd_factors((seeds - 1) * (orders - 1))
    init, order = detectable_sd(seeds, orders), detectable_sd(orders, seeds)
    (init_low, init_high), (order_low, order_high) = sd_factors(seeds - 1), sd_factors(orders - 1)
    return [
        "  answers     which share of the variance between runs is initial weights, order of the batches, or the rest",
        f"  can detect  a seed's effect whose sd is {init:.2f} (initial weights) or {order:.2f} (order) times the "
        f"rest's, at 80 % power (F test, alpha 0.05)",
        f"  precision   95 % intervals of an sd reach from {low:.2f} to {high:.2f} times the estimate for the rest, at "
        f"best from {init_low:.2f} to {init_high:.2f} for the weights and {order_low:.2f} to {order_high:.2f} for the "
        f"order",
    ]


def _seconds_per_step(run: PlannedRun, cache: Path) -> float:
    torch.set_num_threads(1)
    config = run.config
    data = load_data(config, cache)
    engine = DDPEngine(config, data.tokenizer.vocabulary_size, [run.seed], torch.device("cpu"))
    durations, order = [], [config.data.order_of(run.seed)]
    for step in range(1, TIMED_STEPS + 1):
        batch = training_batch(data.train, order, step, range(config.train.batch_size), config.model.context)
        began = time.perf_counter()
        engine.train_step(step, torch.from_numpy(batch), config.optim.lr, measure_updates=False)
        durations.append(time.perf_counter() - began)
    return sorted(durations)[TIMED_STEPS // 2]
