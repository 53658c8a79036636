"""The peak predicted from shapes is what torch's own profiler counts, and grows by the same with each seed."""

from collections.abc import Mapping

import pytest
import torch
from reference import VOCABULARY, run_config, text
from torch.profiler import profile

from gpt.data.batches import training_batch
from gpt.runner.memory import ROOM, most_seeds, peak_memory
from gpt.train.engines.single_process import SingleProcessEngine

CPU = torch.device("cpu")
SHAPES: list[Mapping[str, object]] = [
    {"position": "rope"},
    {"position": "learned", "norm_placement": "post", "dropout": 0.2, "width": 32},
    {"position": "alibi", "norm_placement": "peri", "mlp": "swiglu", "norm": "rmsnorm", "tie_embeddings": False},
]


def counted(seeds: int, shape: Mapping[str, object]) -> int:
    """Bytes at the peak of a second step, by torch's profiler, with the weights and the optimizer's state."""
    config = run_config(train={"batch_size": 16}, **shape)
    engine = SingleProcessEngine(config, VOCABULARY, range(seeds), CPU)
    batch = torch.from_numpy(training_batch(text(4000), range(seeds), 1, range(16), config.model.context))
    engine.train_step(1, batch, 1e-3, measure_updates=True)
    held = 3 * sum(parameter.nbytes for parameter in engine.parameters.values())
    with profile(profile_memory=True) as profiler:
        engine.train_step(2, batch, 1e-3, measure_updates=True)
    now = peak = 0
    for event in profiler.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return held + batch.nbytes + peak


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_the_predicted_peak_is_the_one_that_torch_counts(seeds: int, shape: Mapping[str, object]) -> None:
    config = run_config(train={"batch_size": 16, "eval_batch_size": 1}, **shape)
    config = config.model_copy(update={"probes": config.probes.model_copy(update={"windows": 1})})
    assert peak_memory(config, VOCABULARY, seeds) == pytest.approx(counted(seeds, shape), rel=0.03)


def test_each_seed_more_takes_the_same_and_the_most_that_fit_are_found() -> None:
    config = run_config(dropout=0.1)
    two, three, nine = (peak_memory(config, VOCABULARY, seeds) for seeds in (2, 3, 9))
    assert nine == pytest.approx(two + 7 * (three - two), rel=1e-3)
    assert most_seeds(config, VOCABULARY, round(nine / ROOM * 1.001)) == 9
    assert most_seeds(config, VOCABULARY, round(nine / ROOM * 0.99)) == 8
    assert most_seeds(config, VOCABULARY, 1000) == 1


def test_evaluations_and_probes_count_where_they_need_more_than_a_step() -> None:
    small = run_config(train={"batch_size": 1, "eval_batch_size": 1})
    large = run_config(train={"batch_size": 1, "eval_batch_size": 512})
    probed = small.model_copy(update={"probes": small.probes.model_copy(update={"windows": 512})})
    for more in (large, probed):
        assert peak_memory(more, VOCABULARY, 1) > 4 * peak_memory(small, VOCABULARY, 1)
    unprobed = probed.model_copy(update={"probes": probed.probes.model_copy(update={"every": 0})})
    assert peak_memory(unprobed, VOCABULARY, 1) <= peak_memory(small, VOCABULARY, 1)
