"""Claims that need a GPU: the same numbers as on a CPU, seeds packed or alone, and a parity of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from reference import VOCABULARY, run_config, text

from gpt.config import RunConfig
from gpt.data.batches import training_batch
from gpt.runner.checks.gradient_parity import check_parity
from gpt.runner.checks.parity_cases import cases
from gpt.runner.checks.step_cases import step_cases
from gpt.runner.stack import describe_stack
from gpt.train.engines.engine import StepOut
from gpt.train.engines.single_process import SingleProcessEngine
from gpt.train.engines.step_modes import STEP_MODES

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, torch finds none"),
]
TRAIN = text(4000)


def steps_on(device: str, config: RunConfig, seeds: tuple[int, ...], count: int) -> list[StepOut]:
    engine = SingleProcessEngine(config, VOCABULARY, seeds, torch.device(device))
    outs = []
    for step in range(1, count + 1):
        batch = training_batch(TRAIN, seeds, step, engine.samples, config.model.context)
        outs.append(engine.train_step(step, torch.from_numpy(batch), 1e-3, measure_updates=False))
    return outs


@pytest.mark.parametrize("variant", [{"position": "rope"}, {"norm_placement": "post", "dropout": 0.1, "bias": True}])
def test_a_gpu_computes_what_a_cpu_computes(variant: dict[str, object]) -> None:
    config = run_config(optim={"clip": 0.8}, **variant)
    for ours, theirs in zip(steps_on("cuda", config, (3, 0), 5), steps_on("cpu", config, (3, 0), 5), strict=True):
        torch.testing.assert_close(ours.loss_S.cpu(), theirs.loss_S, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.layer_grad_norm_SL.cpu(), theirs.layer_grad_norm_SL, rtol=1e-3, atol=1e-5)


def test_seeds_packed_on_a_gpu_are_the_runs_they_are_alone() -> None:
    config = run_config(optim={"clip": 0.8})
    together = steps_on("cuda", config, tuple(range(8)), 5)
    for seed in range(8):
        for packed, alone in zip(together, steps_on("cuda", config, (seed,), 5), strict=True):
            torch.testing.assert_close(packed.loss_S[seed], alone.loss_S[0], rtol=1e-4, atol=1e-5)


def test_a_study_on_a_gpu_seed_batches_its_seeds_and_says_so(tiny_study: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gpt", "study", "run", str(tiny_study), "--out", str(tmp_path), "--device", "cuda"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    runs = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/run.json")]
    assert len(runs) == 6
    together = [run["layouts"][0]["seeds_together"] for run in runs]
    assert max(together) == min(3, -(-6 // torch.cuda.device_count()))


@pytest.mark.parametrize("mode", ["compiled", "graph"])
def test_fast_steps_are_the_plain_ones_and_a_fault_is_computed_again(mode: str) -> None:
    plain_config, config = (run_config(train={"step": step}, dropout=0.2, norm_placement="post") for step in
                            ("eager", mode))  # fmt: skip
    windows = torch.from_numpy(training_batch(TRAIN, [0], 0, range(4), 12)[0])
    plain, fast = (
        STEP_MODES[c.train.step](c, VOCABULARY, (3, 0), torch.device("cuda")) for c in (plain_config, config)
    )
    for step in range(1, 9):
        batch = torch.from_numpy(training_batch(TRAIN, (3, 0), step, fast.samples, config.model.context))
        outs = [engine.train_step(step, batch, 1e-3, measure_updates=step % 2 == 0) for engine in (plain, fast)]
        if step % 3 == 0:
            for engine in (plain, fast):
                engine.evaluate(windows)
                engine.observe(windows[:, :-1], ["residual", "attention"])
        fast.settle()
        torch.testing.assert_close(outs[1].loss_S, outs[0].loss_S, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(outs[1].layer_grad_norm_SL, outs[0].layer_grad_norm_SL, rtol=1e-3, atol=1e-5)
    assert fast.take_events() == []
    with torch.no_grad():  # a fault that no weight explains: the device says that a step was not finite
        fast._held.fill_(1.0)
    batch = torch.from_numpy(training_batch(TRAIN, (3, 0), 9, fast.samples, config.model.context))
    expected, out = (engine.train_step(9, batch, 1e-3, measure_updates=False) for engine in (plain, fast))
    fast.settle()
    assert [event["step"] for event in fast.take_events()] == [9]
    torch.testing.assert_close(out.loss_S, expected.loss_S, rtol=1e-4, atol=1e-5)


def test_cudnns_attention_is_off_and_the_stack_says_what_is_on() -> None:
    SingleProcessEngine(run_config(), VOCABULARY, (0,), torch.device("cuda"))
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert describe_stack(torch.device("cuda"))["sdpa"] == "flash, mem_efficient, math"


def test_compiled_steps_and_graphs_of_every_part_hold_on_a_gpu() -> None:
    found = check_parity("cuda", step_cases(["compiled", "graph"], "cuda"))
    assert found.holds, [line for line in found.lines if not line.holds]


def test_gradient_parity_holds_on_a_gpu() -> None:
    found = check_parity("cuda", [case for case in cases() if case.ranks <= torch.cuda.device_count()])
    assert found.holds, [line for line in found.lines if not line.holds]
