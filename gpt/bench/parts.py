"""What a run does besides its steps: evaluations, probes, records, checkpoints, and what is made once at its end."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from gpt.bench.spread import Arm, Effort, Spread, alternate, stopwatch
from gpt.bench.steps import TrainingSteps
from gpt.data.batches import repeated_windows
from gpt.model.with_weights import with_weights
from gpt.probes.protocol import PROBES, Probe, measure_all, probes_of
from gpt.records.run_folder import RunFolder
from gpt.train.context_use import measure_long_range
from gpt.train.held_out import Evaluation, HeldOut
from gpt.train.run_writer import FLUSH_EVERY, RunWriter
from gpt.train.sampling import sample_text

Work = Callable[[], object]


@dataclass(frozen=True)
class Part:
    """One thing that a run does besides its steps."""

    name: str
    seconds: Spread
    """of doing it once"""
    times: float
    """how often a run does it"""
    share: float
    """of the time that all steps of a run take"""


def measure_parts(steps: TrainingSteps, step_seconds: float, effort: Effort) -> list[Part]:
    """Time, on an engine that has trained a little, everything that the run of its configuration does beside steps.

    Args:
        step_seconds: of one step, for the shares.
    """
    config, count = steps.config, steps.config.train.steps
    evaluations = len({0, count, *range(0, count + 1, config.train.eval_every)})
    probed = len({0, count, *range(0, count + 1, config.probes.every)}) if config.probes.every else 0
    checkpoints = len({count, *range(config.train.checkpoint_every, count + 1, config.train.checkpoint_every)})
    number = itertools.count(1)  # of rows, whose steps rise
    with _writer(steps) as writer:
        works: list[tuple[str, float, Work]] = [("evaluation", evaluations, _evaluate(steps))]
        if probed:
            works += [(name, probed, work) for name, work in _probes(steps).items()]
        works += [
            (f"recording {FLUSH_EVERY} steps", count / FLUSH_EVERY, _record(steps, writer, number)),
            ("checkpoint", checkpoints, _checkpoint(writer)),
            ("records of an evaluation", evaluations, _record_evaluation(steps, writer, number)),
            *((name, 1, work) for name, work in _at_the_end(steps).items()),
        ]
        arms = [(name, times, stopwatch(work, steps.synchronize)) for name, times, work in works]
        if probed:
            arms.append(("update ratios", probed, _update_ratios(steps)))
        parts = []
        for name, times, arm in arms:
            arm()  # the first time is slower
            (seconds,) = alternate([arm], effort)
            parts.append(Part(name, seconds, times, times * seconds.median / (count * step_seconds)))
        return parts


@contextmanager
def _writer(steps: TrainingSteps) -> Iterator[RunWriter]:
    """The loop's own sink, into folders that are removed again."""
    with tempfile.TemporaryDirectory() as folder:
        folders = [RunFolder(Path(folder) / str(seed)) for seed in steps.seeds]
        with closing(RunWriter(folders, steps.config, steps.data, steps.engine)) as writer:
            yield writer


def _evaluate(steps: TrainingSteps) -> Work:
    held_out = HeldOut.of(steps.data, steps.config.model.context)

    def evaluate() -> None:
        for mean_S in held_out.evaluation(steps.engine.evaluate(held_out.windows_NT)).means.values():
            mean_S.tolist()

    return evaluate


def _probes(steps: TrainingSteps) -> dict[str, Work]:
    """Each probe with a forward pass of its own, although those that read the same windows share one."""
    config, data, engine = steps.config, steps.data, steps.engine
    windows_NT = HeldOut.of(data, config.model.context).validation_NT
    repeated_NT = repeated_windows(config.probes.windows, config.model.context, data.tokenizer.vocabulary_size)
    read = {"text": windows_NT[: config.probes.windows, :-1], "repeated": torch.from_numpy(repeated_NT)}
    names = {cls: name for name, cls in PROBES.items()}

    def all_probes() -> None:
        for _, arrays in measure_all(probes_of(config.probes), read, engine.observe):
            to_cpu(arrays)

    def to_cpu(arrays: dict[str, torch.Tensor]) -> None:
        for array in arrays.values():
            array.cpu()

    def measure(probe: Probe) -> None:
        to_cpu(probe.measure(engine.observe(read[probe.windows], probe.capture)))

    works: dict[str, Work] = {"all probes": all_probes}
    for probe in probes_of(config.probes):
        works[f"probe {names[type(probe)]}"] = partial(measure, probe)
    return works


def _update_ratios(steps: TrainingSteps) -> Arm:
    """What a step takes longer that also measures the size of its update."""
    plain, measuring = (stopwatch(partial(steps.take, 1, measure), steps.synchronize) for measure in (False, True))
    return lambda: measuring() - plain()


def _record(steps: TrainingSteps, writer: RunWriter, number: Iterator[int]) -> Work:
    """As many rows as are written in one go."""

    def record() -> None:
        for _ in range(FLUSH_EVERY):
            writer.step(next(number), 0.0, steps.outs[0])

    record()  # these wait until the next are there
    return record


def _checkpoint(writer: RunWriter) -> Work:
    number = itertools.count(1)
    return lambda: writer.checkpoint(next(number))


def _record_evaluation(steps: TrainingSteps, writer: RunWriter, number: Iterator[int]) -> Work:
    """What is written of an evaluation that is the best so far, as that of a run which still learns is."""
    count = len(HeldOut.of(steps.data, steps.config.model.context).windows_NT)

    def record() -> None:
        step = next(number)
        writer.evaluation(step, Evaluation(torch.full((len(steps.seeds), count), -float(step)), max(1, count // 2)))

    return record


def _at_the_end(steps: TrainingSteps) -> dict[str, Work]:
    """What one seed's trained models are asked for."""
    config, data, model = steps.config, steps.data, steps.engine.whole_model()
    weights = {name: value[:1] for name, value in steps.engine.weights().items()}
    works: dict[str, Work] = {}
    if config.sample.characters:
        asked = config.sample.prompt, config.sample.characters, config.sample.temperature
        works["sample"] = lambda: sample_text(
            with_weights(model, weights), data.tokenizer, config.model.context, *asked, steps.seeds[0]
        )
    if config.probes.long_range_windows:
        works["use of context"] = lambda: measure_long_range(config, data, model, weights)
    return works
