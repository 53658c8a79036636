"""Small runs and the numbers that they have had since the first version; `python tests/golden.py` writes them anew."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from commands import gpt, rows_of, runs_of
from tiny import write_run

from gpt.records.files import read_json
from gpt.runner.stack import describe_hardware, describe_stack

FILE = Path(__file__).with_suffix(".json")
BASE: dict[str, dict[str, Any]] = {
    "data": {"val_fraction": 0.01, "test_share": 0},
    "model": {"width": 32, "context": 32, "tie_embeddings": "true"},
    "optim": {"lr": "3e-3", "final_lr_ratio": 0.1},
    "train": {"checkpoint_every": 500},
    "probes": {"windows": 4, "heatmap_characters": 16, "long_range_windows": 8},
    "sample": {"characters": 40},
}
RUNS: dict[str, list[str]] = {
    **{f"pos-{name}": ["--model.position", name] for name in ("sinusoidal", "rope", "learned", "alibi", "none")},
    **{f"norm-{name}": ["--model.norm_placement", name] for name in ("post", "peri")},
    "rms": ["--model.norm", "rmsnorm"],
    "relu": ["--model.mlp", "relu"],
    "swiglu": ["--model.mlp", "swiglu"],
    "qk": ["--model.qk_norm", "true"],
    "xavier": ["--model.init", "xavier", "--model.bias", "true"],
    "dropout": ["--model.dropout", "0.2"],
    "explicit": ["--model.attention", "explicit"],
    "untied": ["--model.tie_embeddings", "false"],
    "orderseed": ["--data.order_seed", "7"],
    "micro": ["--train.micro_batch_size", "4", "--probes.noise_scale", "true"],
    "ordered1": ["--train.micro_batch_size", "4", "--train.reduction", "rank_invariant"],
    "ordered2": ["--train.micro_batch_size", "4", "--train.reduction", "rank_invariant", "--ranks-per-run", "2"],
    "ddp2": ["--model.dropout", "0.1", "--ranks-per-run", "2"],
    "bf16": ["--train.precision", "bf16"],
    "clipoff": ["--optim.clip", "off"],
    "decay0": ["--optim.weight_decay", "0.0", "--optim.beta1", "0.8"],
    "nan": ["--optim.lr", "1e6", "--optim.clip", "off", "--optim.warmup_steps", "0", "--model.norm_placement", "post",
            "--model.dropout", "0.1"],
}  # fmt: skip
"""what each adds to the words of `gpt train`"""


@dataclass(frozen=True)
class Golden:
    """What one run came to."""

    train_loss: list[float | None]
    """of every fifth step from the first"""
    val_loss: list[float | None]
    weights_sha256: str

    @classmethod
    def of(cls, out: Path) -> "Golden":
        (run,) = runs_of(out)
        rows = rows_of(run)
        val = [row["val/loss"] for row in rows if "val/loss" in row]
        return cls([row["train/loss"] for row in rows[1::5]], val, read_json(run.run_json)["final_weights_sha256"])


def here() -> dict[str, Any]:
    """What the last bits of numbers depend on besides the code."""
    cpu, stack = torch.device("cpu"), describe_stack(torch.device("cpu"))
    maker = describe_hardware(cpu)["cpu"].split()[0]
    return {"cpu": maker, **{key: stack[key] for key in ("cpu_capability", "product", "torch")}}


def trained(folder: Path, name: str) -> Golden:
    """The run of this name, trained now."""
    run_file = write_run(folder / "golden.yaml", "tiny_shakespeare", BASE)
    code, said = gpt("train", run_file, "--out", folder / name, *RUNS[name], home=folder)
    assert code == 0, said
    return Golden.of(folder / name)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        runs = {name: vars(trained(Path(place), name)) for name in RUNS}
    FILE.write_text(json.dumps({"made_on": here(), "runs": runs}, indent=1) + "\n")
