"""The training loop. It knows no engine, no probe and no tracker by name."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gpt.config import RunConfig
from gpt.data.batches import repeated_windows
from gpt.data.dataset import Dataset
from gpt.model.with_weights import with_weights
from gpt.probes.protocol import Probe, measure_all
from gpt.records.schema import UPDATE_RATIO
from gpt.train.context_use import measure_long_range
from gpt.train.engines.engine import Engine
from gpt.train.held_out import HeldOut
from gpt.train.optim.schedule import learning_rate
from gpt.train.prefetch import Batches
from gpt.train.run_writer import RunWriter
from gpt.train.sampling import sample_texts


def train(
    config: RunConfig,
    data: Dataset,
    engine: Engine,
    probes: Sequence[Probe],
    writer: RunWriter,
    start: int,
    stop: Callable[[], bool],
) -> bool:
    """Train to the end, or until `stop` says so on any rank.

    Args:
        start: the last step that is done and loaded; -1 for none, not even the evaluation before the first.
        stop: asked once a step.

    Returns:
        False if `stop` ended it; what was recorded is then durable, and the next attempt resumes from there.
    """
    model, plan = config.model, config.train
    held_out = HeldOut.of(data, model.context)
    repeated_NT = repeated_windows(config.probes.windows, model.context, data.tokenizer.vocabulary_size)
    probed = {"text": held_out.validation_NT[: config.probes.windows, :-1], "repeated": torch.from_numpy(repeated_NT)}
    order = [config.data.order_of(seed) for seed in engine.seeds]
    batches = Batches(data.train, order, engine.samples, model.context, engine.device)

    def is_probe_step(step: int) -> bool:
        return config.probes.every > 0 and (step % config.probes.every == 0 or step == plan.steps)

    def evaluate(step: int) -> None:
        writer.evaluation(step, held_out.evaluation(engine.evaluate(held_out.windows_NT)))

    def observe(step: int, arrays: dict[str, Tensor]) -> None:
        for probe, measured in measure_all(probes, probed, engine.observe):
            arrays |= probe.checked(measured, model.context)
        writer.probed(step, arrays)

    writer.progress(start)
    if start < 0:
        evaluate(0)
        if config.probes.every:
            observe(0, {})
    step, stopping = max(start, 0), False
    while step < plan.steps and not stopping:
        step += 1
        lr = learning_rate(step, plan.steps, config.optim)
        out = engine.train_step(step, batches.at(step), lr, measure_updates=is_probe_step(step))
        writer.step(step, lr, out)
        if plan.is_eval_step(step):
            evaluate(step)
        if out.update_ratio_SL is not None:
            observe(step, {UPDATE_RATIO: out.update_ratio_SL})
        stopping = engine.ranks.any(stop() or writer.all_ended)
        if stopping or step % plan.checkpoint_every == 0 or step == plan.steps:
            writer.checkpoint(step)
        if stopping or plan.is_eval_step(step):
            writer.progress(step)
    finished = step == plan.steps or engine.ranks.any(writer.all_ended)
    if finished:
        finish(config, data, engine, writer, step)
    else:
        writer.stopped(step)
    return finished


def finish(config: RunConfig, data: Dataset, engine: Engine, writer: RunWriter, step: int) -> None:
    """Make what is made once, of trained models: text from each seed's best one, and how its last one uses context."""
    weights, model, sample, count = engine.weights(), engine.whole_model(), config.sample, len(writer.finite)
    # on a GPU a small model takes as long for one seed as for all; elsewhere each is computed as if it were alone
    for together in [range(count)] if engine.runs_ahead and count else [[index] for index in range(count)]:
        if sample.characters:
            best = [writer.best_weights(index) for index in together]
            forward = with_weights(model, {name: torch.cat([one[name] for one in best]) for name in best[0]})
            asked, seeds = (sample.prompt, sample.characters, sample.temperature), [engine.seeds[i] for i in together]
            texts = sample_texts(forward, data.tokenizer, config.model.context, *asked, seeds)
            for index, text in zip(together, texts, strict=True):
                writer.sample(index, text)
        for index in together:
            last = {name: value[index : index + 1] for name, value in weights.items()}
            if config.probes.long_range_windows and writer.finite[index]:
                writer.context_use(index, measure_long_range(config, data, model, last))
            writer.finished(index, step, last)
