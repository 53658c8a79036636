"""Under DeepSpeed too, a seed that leaves the finite numbers harms no other seed of its seed batch."""

import json
from pathlib import Path

import pytest
from commands import BIN, LAUNCH, run_command

pytestmark = pytest.mark.launch

RANK = """
import json, math, os, sys
import torch
from reference import VOCABULARY, run_config, text
from gpt.data.batches import training_batch
from gpt.runner.launch.accelerate import parent_command, read_launch
from gpt.runner.ranks.launched import open_store
from gpt.runner.ranks.group import RankGroup, RankPosition
from gpt.runner.launch.exit_codes import end_process
from gpt.train.engines.zero import ZeROEngine

torch.set_num_threads(1)
launch = read_launch(os.environ, parent_command(), 0)
store = open_store(launch, 60.0)
group = RankGroup(RankPosition(launch.rank, launch.world, launch.world), store, "gloo", 60.0, lambda: False)
group.init()
said = {}
for clip in (None, 0.5):
    for poison in (math.nan, 1e30):
        config, weights = run_config(optim={"clip": clip}), []
        for poisoned in (False, True):
            engine = ZeROEngine(config, VOCABULARY, (0, 7, 3), torch.device("cpu"), group.ranks)
            state = {name: value.clone() for name, value in engine.state().items()}
            if poisoned:
                state["parameter/blocks.0.mlp.up.weight"][1, 0, 0] = poison
            engine.load(0, state)
            norms = []
            for step in (1, 2, 3):
                batch = training_batch(text(4000), (0, 7, 3), step, engine.samples, config.model.context)
                out = engine.train_step(step, torch.from_numpy(batch), 1e-2, False)
                norms.append(out.grad_norm_S.tolist())
            weights.append({name: value.clone() for name, value in engine.weights().items()})
            engine.close()
        clean, beside = weights
        said[f"{clip} {poison}"] = {
            "same": all(torch.equal(clean[name][[0, 2]], beside[name][[0, 2]]) for name in clean),
            "moved": not torch.equal(clean["embedding.weight"][0], state["parameter/embedding.weight"][0]),
            "poisoned": not math.isfinite(norms[-1][1]),
        }
if group.ranks.is_main:
    with open(sys.argv[1], "w") as file:
        json.dump(said, file)
group.destroy()
end_process(0)
"""


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_seed_that_is_not_finite_leaves_the_others_bit_identical(stage: int, tmp_path: Path) -> None:
    script, answer = tmp_path / "rank.py", tmp_path / "answer.json"
    script.write_text(f"import sys\nsys.path.insert(0, {str(LAUNCH.parent / 'tests')!r})\n" + RANK)
    config = LAUNCH / f"zero{stage}.yaml"
    code, said = run_command([BIN / "accelerate", "launch", "--config_file", config, script, answer], tmp_path)
    assert code == 0, said
    for case, found in json.loads(answer.read_text()).items():
        assert found == {"same": True, "moved": True, "poisoned": True}, case
