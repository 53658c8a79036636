"""Seeds trained together are the runs they are alone, and none can harm another."""

import math

import pytest
import torch
from reference import VOCABULARY, run_config, text
from torch import Tensor

from gpt.config import RunConfig
from gpt.data.batches import consecutive_windows, training_batch
from gpt.model.linear import MATMULS
from gpt.train.engines.engine import StepOut
from gpt.train.engines.single_process import SingleProcessEngine
from gpt.train.optim.schedule import learning_rate

SEEDS = (5, 0, 2, 2**40)
TRAIN = text(4000)
WINDOWS = torch.from_numpy(consecutive_windows(text(130)[::-1].copy(), 12))


def step_of(engine: SingleProcessEngine, step: int) -> StepOut:
    config = engine.config
    samples, lr = range(config.train.batch_size), learning_rate(step, config.train.steps, config.optim)
    batch = torch.from_numpy(training_batch(TRAIN, engine.seeds, step, samples, config.model.context))
    return engine.train_step(step, batch, lr, measure_updates=True)


def engine_of(config: RunConfig, seeds: tuple[int, ...]) -> SingleProcessEngine:
    return SingleProcessEngine(config, VOCABULARY, seeds, torch.device("cpu"))


def bits(value: Tensor) -> Tensor:
    return value.contiguous().view(torch.int32)


@pytest.mark.parametrize(
    ("clip", "variant"),
    [
        (0.8, {"norm_placement": "pre", "position": "rope"}),
        (0.8, {"norm_placement": "post", "position": "learned", "bias": True, "tie_embeddings": False}),
        (0.8, {"norm_placement": "pre", "position": "learned", "dropout": 0.1, "bias": True}),
        (0.8, {"norm_placement": "post", "position": "rope", "dropout": 0.1, "mlp": "swiglu"}),
        (1.8, {"norm_placement": "peri", "position": "alibi", "norm": "rmsnorm", "qk_norm": True}),
    ],
)
def test_seeds_trained_together_are_the_runs_they_are_alone(clip: float, variant: dict[str, object]) -> None:
    config = run_config(optim={"clip": clip, "lr": 1e-3}, **variant)
    seed_batch, solo = engine_of(config, SEEDS), [engine_of(config, (seed,)) for seed in SEEDS]
    clipped = set()
    for step in range(1, 51):
        together, alone = step_of(seed_batch, step), [step_of(engine, step) for engine in solo]
        for s, one in enumerate(alone):
            assert together.loss_S[s].item() == pytest.approx(one.loss_S.item(), abs=1e-5), (step, s)
            torch.testing.assert_close(together.grad_norm_S[s], one.grad_norm_S[0], rtol=1e-3, atol=1e-6)
            torch.testing.assert_close(together.clip_scale_S[s], one.clip_scale_S[0], rtol=1e-3, atol=0)
        clipped |= set((together.clip_scale_S < 1).tolist())
    assert clipped == {True, False}, "the limit must matter, and not always"
    assert len(set(together.loss_S.tolist())) == len(SEEDS)
    packed_losses = seed_batch.evaluate(WINDOWS)
    for s, engine in enumerate(solo):
        torch.testing.assert_close(packed_losses[s], engine.evaluate(WINDOWS)[0], atol=1e-5, rtol=0)
        for name, weight in engine.weights().items():
            torch.testing.assert_close(seed_batch.weights()[name][s], weight[0], atol=1e-4, rtol=1e-3, msg=name)


def test_the_place_in_the_seed_batch_changes_nothing_at_all() -> None:
    config = run_config(dropout=0.1)
    seed_batch, turned = engine_of(config, SEEDS), engine_of(config, SEEDS[::-1])
    for step in range(1, 11):
        out, other = step_of(seed_batch, step), step_of(turned, step)
        assert torch.equal(out.loss_S, other.loss_S.flip(0))
        assert torch.equal(out.layer_grad_norm_SL, other.layer_grad_norm_SL.flip(0))
    for name, weight in seed_batch.weights().items():
        assert torch.equal(weight, turned.weights()[name].flip(0)), name


@pytest.mark.parametrize("kernel", sorted(MATMULS.keys() - {"single"}))
@pytest.mark.parametrize(
    "variant",
    [
        {"norm_placement": "pre", "position": "rope", "dropout": 0.1},
        {"norm_placement": "post", "position": "learned", "bias": True},
        {"norm_placement": "peri", "position": "alibi", "norm": "rmsnorm", "qk_norm": True, "mlp": "swiglu"},
    ],
    ids=["pre", "post", "peri"],
)
@pytest.mark.parametrize(
    ("parameter", "poison"),
    [("blocks.0.attention.qkv.weight", math.nan), ("embedding.weight", math.inf), ("blocks.1.mlp.down.weight", 1e30)],
)
def test_a_seed_that_leaves_the_finite_numbers_leaves_the_others_bit_identical(
    monkeypatch: pytest.MonkeyPatch, kernel: str, variant: dict[str, object], parameter: str, poison: float
) -> None:
    monkeypatch.setattr("gpt.model.linear.matmul_backend", lambda _: kernel)
    config, seeds, sick, well = run_config(optim={"clip": 0.5}, **variant), SEEDS[:3], 1, [0, 2]
    healthy, poisoned = engine_of(config, seeds), engine_of(config, seeds)
    for step in range(1, 9):
        if step == 4:
            with torch.no_grad():
                poisoned.model.get_parameter(parameter)[sick].fill_(poison)
        expected, got = step_of(healthy, step), step_of(poisoned, step)
        for field in ("loss_S", "grad_norm_S", "layer_grad_norm_SL", "clip_scale_S", "update_ratio_SL"):
            ours, theirs = getattr(got, field), getattr(expected, field)
            assert torch.equal(bits(ours[well]), bits(theirs[well])), (step, field)
            if poison != 1e30:
                assert step < 4 or field != "grad_norm_S" or not ours[sick].isfinite()
    for name, value in healthy.state().items():
        assert torch.equal(bits(poisoned.state()[name][well]), bits(value[well])), name
    assert not torch.equal(poisoned.weights()[parameter][sick], healthy.weights()[parameter][sick])
    assert torch.equal(poisoned.evaluate(WINDOWS)[well], healthy.evaluate(WINDOWS)[well])
    ours, theirs = (engine.observe(WINDOWS[:2, :-1], ["residual"])["residual"] for engine in (poisoned, healthy))
    for got_tap, expected_tap in zip(ours, theirs, strict=True):
        assert torch.equal(bits(got_tap[well]), bits(expected_tap[well]))
