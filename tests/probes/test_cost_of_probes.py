"""What all measurements together cost."""

import statistics
import time
from pathlib import Path

import pytest
import torch

from gpt.config import ProbeConfig
from gpt.data.batches import consecutive_windows, repeated_windows, training_batch
from gpt.data.corpus import default_cache
from gpt.probes.protocol import measure_all, probes_of
from gpt.run_file import read_run_file
from gpt.runner.corpora import Corpora
from gpt.train.context_use import measure_long_range
from gpt.train.engines.single_process import SingleProcessEngine

MOST = 0.03
ROUNDS = 9


@pytest.mark.measure
def test_all_probes_at_the_default_cadence_cost_less_than_three_hundredths_of_the_time(
    repository: Path, request: pytest.FixtureRequest
) -> None:
    config = read_run_file(repository / "configs/runs/char_small.yaml")
    assert config.probes == ProbeConfig()
    data = Corpora(default_cache()).load(config)
    vocabulary, context = data.tokenizer.vocabulary_size, config.model.context
    engine = SingleProcessEngine(config, vocabulary, (0,), torch.device("cpu"))
    read = {
        "text": torch.from_numpy(consecutive_windows(data.val, context)[: config.probes.windows, :-1]),
        "repeated": torch.from_numpy(repeated_windows(config.probes.windows, context, vocabulary)),
    }

    def seconds(step: int, measured: bool) -> float:
        batch = torch.from_numpy(training_batch(data.train, (0,), step, engine.samples, context))
        began = time.perf_counter()
        engine.train_step(step, batch, 1e-3, measure_updates=measured)
        if measured:
            for _ in measure_all(probes_of(config.probes), read, engine.observe):
                pass
        return time.perf_counter() - began

    shares = []
    for round_ in range(ROUNDS):  # interleaved, so that whatever else the machine does hits all alike
        plain = [seconds(6 * round_ + i + 1, measured=False) for i in range(5)]
        probed = seconds(6 * round_ + 6, measured=True)
        began = time.perf_counter()
        measure_long_range(config, data, engine.whole_model(), engine.weights())
        at_the_end = time.perf_counter() - began
        step = statistics.median(plain)
        shares.append((probed / step - 1) / config.probes.every + at_the_end / step / config.train.steps)
    low, middle, high = statistics.quantiles(shares, n=4)
    assert middle < MOST
    said = f"{100 * middle:.2f} % of the steps' time (quartiles {100 * low:.2f} and {100 * high:.2f})"
    request.node.user_properties.append(("measured", {"all probes at the default cadence of char_small": said}))
