"""A user's own norm and optimizer on ranks: engines that split batches, shards of an optimizer, shards of weights."""

from pathlib import Path

import pytest
from commands import GPT, furthest, launch, layouts_of, run_command, runs_of
from tiny import write_run

pytestmark = pytest.mark.launch

MINE = """
import torch
from gpt.model.norm import NORMS, Norm, per_seed
from gpt.train.optim.optimizer import OPTIMIZERS, SeedOptimizer


@NORMS.register("mean_absolute")
class MeanAbsolute(Norm):
    def forward(self, x):
        return x / (x.abs().mean(-1, keepdim=True) + 1e-5) * per_seed(self.weight, x)


@OPTIMIZERS.register("momentum")
class Momentum(SeedOptimizer):
    state_tensors = {"velocity": "velocity"}

    @classmethod
    def build(cls, groups, optim):
        return cls(groups, {"lr": optim.lr, "beta": optim.beta1})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                velocity = self.state[p].setdefault("velocity", torch.zeros_like(p))
                velocity.mul_(group["beta"]).add_(p.grad)
                p.sub_(group["lr"] * (velocity + group["weight_decay"] * p))
"""
ENGINES = {"cpu": "DDP", "zero1": "DeepSpeed ZeRO-1", "zero3": "DeepSpeed ZeRO-3", "fsdp": "FSDP2"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    """A run of the plug-in's norm and optimizer, trained by one process into `alone`."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine.py").write_text(MINE)
    file = write_run(
        folder / "run.yaml", excerpt, model={"norm": "mean_absolute"}, optim={"optimizer": "momentum", "lr": "5e-2"},
        train={"steps": 20, "checkpoint_every": 20},
    )  # fmt: skip
    file.write_text("plugins: [mine.py]\n" + file.read_text())
    code, said = run_command([*GPT, "train", file, "--out", folder / "alone"], folder)
    assert code == 0, said
    return folder


@pytest.mark.parametrize("file", ENGINES)
def test_a_plugins_run_has_the_losses_on_two_ranks_that_it_has_alone(folder: Path, file: str) -> None:
    out = folder / file
    code, said = run_command([*launch(file, "-n", "2"), "train", folder / "run.yaml", "--out", out], folder)
    assert code == 0, said
    assert [(layout["engine"], layout["ranks"]) for layout in layouts_of(runs_of(out)[0])] == [(ENGINES[file], 2)]
    for key in ("train/loss", "val/loss", "grad/norm"):
        assert furthest(folder / "alone", out, key) < 1e-5, key
