"""A long run holds no more memory at its end than when it had begun: nothing that grows with steps is kept."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from whole_runs import place, planned

from gpt.config import RunConfig, with_values
from gpt.runner.seed_batch import train_seed_batch

STEPS, BEGUN = 10_000, 2_000
ALLOWED = 4 * 2**20
"""bytes that an allocator may take more of by chance: less than half a kilobyte a step"""


def resident() -> int:
    """Bytes of memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def on_gpu() -> int:
    return torch.cuda.memory_allocated()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "held"),
    [
        ("cpu", resident),
        pytest.param(
            "cuda",
            on_gpu,
            marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")],
        ),
    ],
)
def test_ten_thousand_steps_hold_no_more_memory_than_two_thousand(
    device: str, held: Callable[[], int], tiny: RunConfig, tmp_path: Path
) -> None:
    long = {"train.steps": STEPS, "train.eval_every": 1000, "train.checkpoint_every": 1000, "probes.every": 500}
    config = with_values(tiny, {**long, "model.dropout": 0.1, "optim.lr": 1e-3}, "test")
    seen: list[int] = []

    def look() -> bool:
        seen.append(held())
        return False

    workspace = place(tmp_path)
    assert train_seed_batch([planned(config)], type(workspace)(tmp_path, workspace.corpora, torch.device(device)), look)
    assert len(seen) == STEPS
    middle = sorted(seen[BEGUN : BEGUN + 1000])[500]
    assert sorted(seen[-1000:])[500] - middle < ALLOWED, (middle, seen[-1])
