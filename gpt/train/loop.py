"""The training loop. It knows no engine, no probe and no tracker by name."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from gpt.config import RunConfig
from gpt.data.batches import repeated_windows, training_batch, validation_windows
from gpt.data.dataset import Dataset
from gpt.probes.protocol import Probe
from gpt.train.engines.engine import Engine
from gpt.train.optim.schedule import learning_rate
from gpt.train.recorder import Recorder


class Outputs(Protocol):
    """Where the loop puts what it makes."""

    def best(self, step: int, indices: Sequence[int]) -> None:
        """The weights of the seeds at these indices are their best so far."""

    def arrays(self, step: int, arrays: dict[str, Tensor]) -> None:
        """What the probes measured, each array leading with the seed axis."""

    def checkpoint(self, step: int) -> None:
        """Make the state after this step durable; the rows up to it already are."""

    def progress(self, step: int) -> None:
        """Say how far training is."""


def train(
    config: RunConfig,
    data: Dataset,
    engine: Engine,
    probes: Sequence[Probe],
    recorder: Recorder,
    outputs: Outputs,
    start: int,
    stop: Callable[[], bool],
) -> int:
    """Train to the end, or until `stop` says so.

    Args:
        start: the last step that is done and loaded; -1 for none, not even the evaluation before the first.
        stop: asked once a step; where several ranks share the work, it must answer all of them alike.

    Returns:
        The last step done; what was recorded up to it is durable.
    """
    model, plan = config.model, config.train
    windows_NT = torch.from_numpy(validation_windows(data.val, model.context))
    repeated_NT = repeated_windows(config.probes.windows, model.context, data.tokenizer.vocabulary_size)
    probed = {"text": windows_NT[: config.probes.windows, :-1], "repeated": torch.from_numpy(repeated_NT)}
    order = [config.data.order_of(seed) for seed in engine.seeds]

    def is_probe_step(step: int) -> bool:
        return config.probes.every > 0 and (step % config.probes.every == 0 or step == plan.steps)

    def evaluate(step: int) -> None:
        loss_S = engine.evaluate(windows_NT).double().mean(dim=1)
        improved = [index for index, best in enumerate(recorder.evaluated(step, loss_S)) if best]
        if improved:
            outputs.best(step, improved)

    def observe(step: int, arrays: dict[str, Tensor]) -> None:
        recorder.flush()
        for windows, read_NT in probed.items():
            asking = [probe for probe in probes if probe.windows == windows]
            capture = frozenset().union(*(probe.capture for probe in asking))
            intermediates = engine.observe(read_NT, capture) if capture else {}
            for probe in asking:
                arrays |= probe.measure(intermediates)
        recorder.probed(step, arrays)
        outputs.arrays(step, arrays)

    if start < 0:
        evaluate(0)
        if config.probes.every:
            observe(0, {})
    for step in range(max(start, 0) + 1, plan.steps + 1):
        batch = training_batch(data.train, order, step, engine.samples, model.context)
        lr = learning_rate(step, plan.steps, config.optim)
        out = engine.train_step(step, torch.from_numpy(batch), lr, measure_updates=is_probe_step(step))
        recorder.step(step, lr, out)
        if plan.is_eval_step(step):
            evaluate(step)
        if out.update_ratio_SL is not None:
            observe(step, {"update_ratio": out.update_ratio_SL})
        stopping = stop()
        if stopping or step % plan.checkpoint_every == 0 or step == plan.steps:
            recorder.sync()
            outputs.checkpoint(step)
        if stopping or plan.is_eval_step(step):
            outputs.progress(step)
        if stopping:
            return step
    return plan.steps
