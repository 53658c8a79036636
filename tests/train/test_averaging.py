"""Under DDP, ranks talk about gradients once a step, however many micro-batches a step has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RANK = """
import json, sys
import torch
import torch.distributed as dist
from reference import VOCABULARY, run_config, text
from gpt.data.batches import training_batch
from gpt.train.engines.ranks import Ranks
from gpt.train.engines.ddp import DDPEngine

folder, rank = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
said = {}
for micro_batch in (None, 1):
    config = run_config(train={"micro_batch_size": micro_batch})
    engine = DDPEngine(config, VOCABULARY, [0], torch.device("cpu"), Ranks(rank, 2))
    averaged = []

    def average(_state, bucket):
        averaged.append(bucket.is_last())
        work = dist.all_reduce(bucket.buffer().div_(2), async_op=True)
        return work.get_future().then(lambda future: future.value()[0])

    engine.averages.register_comm_hook(None, average)
    for step in (1, 2, 3):
        batch = training_batch(text(4000), [0], step, engine.samples, config.model.context)
        engine.train_step(step, torch.from_numpy(batch), 1e-3, False)
    said[len(engine.micro_batches)] = sum(averaged)
with open(f"{folder}/said-{rank}.json", "w") as file:
    json.dump(said, file)
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_ranks_average_once_a_step_however_many_micro_batches_it_has(tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}"}
    command = [sys.executable, "-c", RANK, str(tmp_path)]
    ranks = [subprocess.Popen([*command, str(rank)], env=environment, stderr=subprocess.PIPE) for rank in range(2)]
    try:
        ends = [(rank.communicate(timeout=90)[1].decode(), rank.returncode) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [code for _, code in ends] == [0, 0], ends
    for rank in range(2):
        said = json.loads((tmp_path / f"said-{rank}.json").read_text())
        assert said == {"1": 3, "2": 3}
