"""The measurements of one run, one after the other."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from gpt.bench.ceiling import Ceiling, measure_ceiling
from gpt.bench.device import describe_machine, forget_peak, peak_memory
from gpt.bench.document import VERSION, Against, Bench, StepCost
from gpt.bench.losses import FEWEST_STEPS, LossComparison, compare_losses
from gpt.bench.nanogpt import NanoGPT
from gpt.bench.parts import measure_parts
from gpt.bench.ranks import measure_ranks
from gpt.bench.spread import FULL, QUICK, Effort, Spread, alternate
from gpt.bench.start_up import measure_start_up
from gpt.bench.steps import TrainingSteps
from gpt.config import RunConfig, with_values
from gpt.data.dataset import Dataset
from gpt.errors import InputError
from gpt.runner.workspace import Workspace
from gpt.train.engines.deterministic import set_deterministic

LOSS_STEPS = 200
"""steps after which our loss is compared with nanoGPT's"""
START_UPS = 5
"""processes that start-up is measured with"""


@dataclass(frozen=True)
class Wanted:
    """What is asked of `measure`."""

    run: Path
    overrides: Sequence[str]
    seeds_together: Sequence[int]
    """numbers of seeds, rising"""
    modes: Sequence[str]
    """ways of computing a step, values of `train.step`; the first is that of what a run does besides steps"""
    ranks: Sequence[int]
    """numbers of ranks that share a batch, rising"""
    against: Path | None
    """nanoGPT's checkout"""
    quick: bool
    """a few samples of each thing: to see that it works, not how fast it is"""


def measure(config: RunConfig, data: Dataset, workspace: Workspace, wanted: Wanted) -> Bench:
    """Measure a run on this process's device, with its number of threads.

    Raises:
        InputError: see `NanoGPT` and `measure_start_up`.
    """
    effort, device = QUICK if wanted.quick else FULL, workspace.device
    with NanoGPT(wanted.against, config, data, device) if wanted.against else nullcontext() as rival:
        first = _in_mode(config, wanted.modes[0], config.train.deterministic)
        steps = TrainingSteps(first, data, workspace, [config.seed])
        _say("the ceiling")
        ceiling = measure_ceiling(device, config.train, effort, wanted.quick)
        losses = rival and _losses(steps, rival, wanted.quick)
        _say("steps")
        costs, left_out, seconds = _step_costs(steps, rival, ceiling, workspace, wanted, effort)
    _say("what a run does besides steps")
    parts = measure_parts(steps, costs[0].seconds.median, effort)
    _say("start-up")
    start_up = measure_start_up(
        wanted.run, wanted.overrides, device.type, torch.get_num_threads(), 1 if wanted.quick else START_UPS
    )
    ranks = []
    for count in wanted.ranks:
        _say(f"{count} ranks")
        try:
            ranks.append(
                measure_ranks(wanted.run, wanted.overrides, device.type, torch.get_num_threads(), count, wanted.quick)
            )
        except InputError as error:
            left_out.append(f"{count} ranks: {error}")
    against = None
    if rival and losses and seconds:
        per_second = steps.tokens / seconds.median
        against = Against(str(wanted.against), rival.compiled, losses, seconds, per_second)
    return Bench(
        version=VERSION,
        run=wanted.run.stem,
        config=config.model_dump(mode="json"),
        machine=describe_machine(device),
        parameters=steps.engine.parameter_count,
        training_flops_per_token=steps.engine.training_flops_per_token,
        ceiling=ceiling,
        steps=costs,
        left_out=left_out,
        parts=parts,
        start_up=start_up,
        ranks=ranks,
        against=against,
    )


def _losses(steps: TrainingSteps, rival: NanoGPT, quick: bool) -> LossComparison:
    """Train both from their first step on, and compare: what is timed afterwards learns alike."""
    count = FEWEST_STEPS if quick else LOSS_STEPS
    _say(f"{count} steps of ours and of nanoGPT's, whose losses are compared")
    steps.take(count)
    rival.take(count - len(rival.losses))
    ours = torch.stack([out.loss_S for out in steps.outs])[:, 0].tolist()
    return compare_losses(ours, torch.stack(rival.losses).tolist())


def _step_costs(
    steps: TrainingSteps,
    rival: NanoGPT | None,
    ceiling: Ceiling,
    workspace: Workspace,
    wanted: Wanted,
    effort: Effort,
) -> tuple[list[StepCost], list[str], Spread | None]:
    """Time one seed, then each number of seeds together in turns with it and with nanoGPT.

    Returns:
        The costs, one seed's first; what was left out and why; the seconds of nanoGPT's step in turns with one seed's.
    """
    steps.warm_up(wanted.quick)
    if rival:
        rival.steps_a_sample = steps.steps_a_sample
    flops = steps.engine.training_flops_per_token

    def cost(contender: TrainingSteps) -> tuple[StepCost, Spread | None]:
        together = [steps] if contender is steps else [steps, contender]
        timed = alternate([*together, rival] if rival else together, effort)
        base, mine, theirs = timed[0], timed[len(together) - 1], timed[-1] if rival else None
        more = contender.tokens / steps.tokens
        per_second = contender.tokens / mine.median
        return StepCost(
            mode=contender.config.train.step,
            deterministic=contender.config.train.deterministic,
            seeds=len(contender.seeds),
            seconds=mine,
            tokens_per_second=per_second,
            utilisation=per_second * flops / ceiling.flops_per_second,
            over_base=None if contender is steps else base.over(mine, more),
            over_nanogpt=theirs and theirs.over(mine, more),
            peak_memory=peak_memory(workspace.device) if workspace.device.type == "cuda" else None,
        ), theirs

    first, theirs = cost(steps)
    costs, left_out = [first], []
    own = steps.config.train.deterministic
    ways = [(mode, own, wanted.seeds_together) for mode in wanted.modes]
    if not own:
        ways += [(mode, True, [1]) for mode in wanted.modes]
    for mode, strict, counts in ways:
        what = f"{mode} steps{', strict' if strict else ''}"
        config = _in_mode(steps.config, mode, strict)
        for count in counts:
            if (config, count) == (steps.config, 1):
                continue
            _say(f"{what}, seeds together: {count}")
            forget_peak(workspace.device)
            seeds = range(steps.config.seed, steps.config.seed + count)
            try:
                contender = TrainingSteps(config, steps.data, workspace, seeds)
                contender.warm_up(wanted.quick)
                costs.append(cost(contender)[0])
            except RuntimeError as error:  # out of memory, or no compiler: what was measured so far is worth having
                why = next(iter(str(error).strip().splitlines()), type(error).__name__)
                left_out.append(f"{what}, {count} seeds and more: {why}")
                break
    set_deterministic(own)
    return costs, left_out, theirs


def _in_mode(config: RunConfig, mode: str, deterministic: bool) -> RunConfig:
    return with_values(config, {"train.step": mode, "train.deterministic": deterministic}, "gpt bench")


def _say(what: str) -> None:
    print(f"measuring {what}", file=sys.stderr, flush=True)
