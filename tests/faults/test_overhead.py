"""What durability costs."""

import statistics
import time
from pathlib import Path

import pytest
import torch

from gpt.data.batches import training_batch
from gpt.data.corpus import default_cache
from gpt.records.jsonl import NOTHING
from gpt.run_file import read_run_file
from gpt.runner.corpora import Corpora
from gpt.train import checkpoint
from gpt.train.engines.single_process import SingleProcessEngine

MOST = 0.01
"""share of the training's time"""


@pytest.mark.measure
def test_checkpoints_at_the_default_interval_cost_less_than_a_hundredth_of_the_time(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    config = read_run_file(repository / "configs/runs/char_small.yaml")
    assert config.train.checkpoint_every == type(config.train).model_fields["checkpoint_every"].default
    data = Corpora(default_cache()).load(config)
    engine = SingleProcessEngine(config, data.tokenizer.vocabulary_size, (0,), torch.device("cpu"))
    meta = {"run": "0" * 16, "records": {"metrics": NOTHING, "events": NOTHING}}
    steps, commits = [], []
    for step in range(1, 91):  # interleaved, so that whatever else the machine does hits both alike
        batch = training_batch(data.train, engine.seeds, step, engine.samples, config.model.context)
        began = time.perf_counter()
        engine.train_step(step, torch.from_numpy(batch), 1e-3, measure_updates=False)
        steps.append(time.perf_counter() - began)
        if step % 10 == 0:
            began = time.perf_counter()
            state = {name: value.clone() for name, value in engine.state().items()}
            checkpoint.commit(tmp_path, step, state, meta)
            commits.append(time.perf_counter() - began)
    shares = [commit / (config.train.checkpoint_every * statistics.median(steps)) for commit in commits[2:]]
    low, middle, high = statistics.quantiles(shares, n=4)
    assert middle < MOST
    said = f"{100 * middle:.2f} % of the training's time (quartiles {100 * low:.2f} and {100 * high:.2f})"
    request.node.user_properties.append(("measured", {"checkpoints every 500 steps of char_small": said}))
