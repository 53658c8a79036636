"""The local engine against naive computations, and against itself: resumed, observed, chunked."""

import math

import numpy as np
import pytest
import reference
import torch
from reference import PLACEMENTS, VOCABULARY, NaiveAdamW, random_tokens, run_config, text
from torch import Tensor

from gpt.config import RunConfig
from gpt.data.batches import consecutive_windows, training_batch
from gpt.model.dropout import draw_key
from gpt.model.gpt import GPT, layer_index, token_losses
from gpt.train.engines.engine import State, StepOut
from gpt.train.engines.single_process import SingleProcessEngine
from gpt.train.optim.schedule import learning_rate

CPU = torch.device("cpu")
TRAIN = text(4000)
WINDOWS = torch.from_numpy(consecutive_windows(text(250)[::-1].copy(), 12))


def engine_of(config: RunConfig, seeds: tuple[int, ...] = (3, 0)) -> SingleProcessEngine:
    return SingleProcessEngine(config, VOCABULARY, seeds, CPU)


def train(engine: SingleProcessEngine, first: int, last: int, measure_updates: bool = False) -> list[StepOut]:
    config = engine.config
    outs = []
    for step in range(first, last + 1):
        samples, lr = range(config.train.batch_size), learning_rate(step, config.train.steps, config.optim)
        batch = torch.from_numpy(training_batch(TRAIN, engine.seeds, step, samples, config.model.context))
        outs.append(engine.train_step(step, batch, lr, measure_updates))
    return outs


def snapshot(engine: SingleProcessEngine) -> State:
    return {name: value.clone() for name, value in engine.state().items()}


def assert_same_bits(first: State, second: State) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value.view(torch.int32), second[name].view(torch.int32)), name


def alone(model: GPT, config: RunConfig, s: int) -> GPT:
    one = GPT(config.model, VOCABULARY, 1)
    one.load_state_dict({name: value[s : s + 1] for name, value in model.state_dict().items()})
    return one


@pytest.mark.parametrize("clip", [None, 0.05])
def test_a_step_is_forward_backward_clip_and_naive_adamw(clip: float | None) -> None:
    config = run_config(optim={"clip": clip, "lr": 1e-2, "weight_decay": 0.5}, bias=True, norm_placement="post")
    engine = engine_of(config)
    batch = torch.from_numpy(training_batch(TRAIN, engine.seeds, 1, range(4), 12))
    models = [alone(engine.model, config, s) for s in range(2)]
    out = engine.train_step(1, batch, 4e-3, measure_updates=False)
    assert out.update_ratio_SL is None
    for s, model in enumerate(models):
        logits = model(batch[s : s + 1, :, :-1])[0]
        loss = token_losses(logits, batch[s : s + 1, :, 1:]).mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip or math.inf)
        assert out.loss_S[s].item() == pytest.approx(loss.item(), rel=1e-6)
        assert out.grad_norm_S[s].item() == pytest.approx(norm.item(), rel=1e-5)
        assert out.clip_scale_S[s].item() == pytest.approx(min(1.0, clip / norm.item()) if clip else 1.0, rel=1e-4)
        assert (out.clip_scale_S[s] < 1) == (clip is not None)
        for name, parameter in model.named_parameters():
            decay = 0.5 if parameter.ndim == 3 else 0.0
            naive = NaiveAdamW(parameter.detach()[0].double().numpy().copy(), 0.9, 0.99, 1e-8, decay)
            gradient = parameter.grad[0].double().numpy()
            naive.update(gradient, 4e-3)
            # Adam moves by the gradient's sign; where the gradient is near zero, its sign is dropout_key.
            settled = np.abs(gradient) > 1e-3 * np.abs(gradient).max()
            ours = engine.model.get_parameter(name)[s].detach().numpy()
            np.testing.assert_allclose(ours[settled], naive.weight[settled], rtol=1e-4, atol=2e-6, err_msg=name)
            assert settled.any(), name


def test_a_steps_dropout_is_keyed_by_its_seeds_step_and_samples() -> None:
    engine, batch = engine_of(run_config(dropout=0.3)), random_tokens(2, 4, 13)
    losses = []
    for step in (7, 8):
        logits, _ = engine.model(
            batch[..., :-1], dropout_key=draw_key(engine.dropout_sites, range(4), engine.dropout_words.at(step))
        )
        losses.append(token_losses(logits, batch[..., 1:]).mean((1, 2)).detach())
        assert torch.equal(engine.train_step(step, batch, 0.0, measure_updates=False).loss_S, losses[-1])
    assert not torch.isclose(losses[0], losses[1]).any()


def test_update_ratios_equal_a_naive_before_and_after() -> None:
    config = run_config(position="learned", tie_embeddings=False, bias=True)
    engine = engine_of(config)
    train(engine, 1, 3)
    before = {name: value.double().clone() for name, value in engine.weights().items()}
    (out,) = train(engine, 4, 4, measure_updates=True)
    after = engine.weights()
    assert out.update_ratio_SL.shape == (2, 4)
    for s in range(2):
        for layer in range(4):
            mine = [name for name in before if layer_index(name, config.model) == layer]
            moved = sum((after[name][s] - before[name][s]).square().sum() for name in mine)
            size = sum(before[name][s].square().sum() for name in mine)
            assert out.update_ratio_SL[s, layer].item() == pytest.approx((moved / size).sqrt().item(), rel=1e-4)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_what_a_step_reports_is_finite_for_every_layer(placement: str, tied: bool) -> None:
    engine = engine_of(run_config(norm_placement=placement, tie_embeddings=tied))
    (out,) = train(engine, 1, 1, measure_updates=True)
    for value in (out.loss_S, out.grad_norm_S, out.layer_grad_norm_SL, out.clip_scale_S, out.update_ratio_SL):
        assert value.isfinite().all()
        assert not value.requires_grad
    assert (out.layer_grad_norm_SL > 0).all()


def test_measuring_updates_changes_none() -> None:
    config = run_config(dropout=0.1)
    plain, measured = engine_of(config), engine_of(config)
    train(plain, 1, 5)
    train(measured, 1, 5, measure_updates=True)
    assert_same_bits(plain.state(), measured.state())


@pytest.mark.parametrize("position", ["rope", "learned"])
def test_ten_steps_a_load_and_ten_more_are_twenty_steps_bit_for_bit(position: str) -> None:
    config = run_config(dropout=0.1, bias=True, position=position)
    straight, first, second = engine_of(config), engine_of(config), engine_of(config)
    straight_outs = train(straight, 1, 20)
    train(first, 1, 10)
    second.load(10, snapshot(first))
    outs = train(second, 11, 20)
    assert_same_bits(straight.state(), second.state())
    for expected, got in zip(straight_outs[10:], outs, strict=True):
        assert torch.equal(expected.loss_S, got.loss_S)
        assert torch.equal(expected.layer_grad_norm_SL, got.layer_grad_norm_SL)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_states_cut_apart_and_stacked_in_another_order_go_on_to_the_same_bits(order: tuple[int, ...]) -> None:
    """As checkpoints do: one for each run, and a seed batch resumes from those of its runs."""
    config, seeds = run_config(dropout=0.1), (3, 0, 7)
    straight, first = engine_of(config, seeds), engine_of(config, seeds)
    train(straight, 1, 20)
    train(first, 1, 10)
    cut = [{name: value[s : s + 1].clone() for name, value in first.state().items()} for s in range(3)]
    second = engine_of(config, tuple(seeds[s] for s in order))
    second.load(10, {name: torch.cat([cut[s][name] for s in order]) for name in cut[0]})
    train(second, 11, 20)
    for place, s in enumerate(order):
        expected = {name: value[s] for name, value in straight.state().items()}
        assert_same_bits(expected, {name: value[place] for name, value in second.state().items()})


def test_a_seed_batch_takes_up_runs_that_were_trained_alone() -> None:
    config, seeds = run_config(dropout=0.1), (3, 0)
    solo = [engine_of(config, (seed,)) for seed in seeds]
    for engine in solo:
        train(engine, 1, 10)
    seed_batch = engine_of(config, seeds)
    states = [snapshot(engine) for engine in solo]
    seed_batch.load(10, {name: torch.cat([state[name] for state in states]) for name in states[0]})
    outs = train(seed_batch, 11, 20)
    for s, engine in enumerate(solo):
        for expected, got in zip(train(engine, 11, 20), outs, strict=True):
            torch.testing.assert_close(got.loss_S[s], expected.loss_S[0], atol=1e-5, rtol=0)


def test_a_state_loaded_into_two_engines_ties_neither_to_the_other_nor_to_its_source() -> None:
    config = run_config()
    source, first, second, straight = (engine_of(config) for _ in range(4))
    train(straight, 1, 12)
    train(source, 1, 10)
    state = source.state()
    first.load(10, state)
    second.load(10, state)
    train(source, 11, 12)
    train(first, 11, 12)
    assert_same_bits(straight.state(), first.state())
    train(second, 11, 12)
    assert_same_bits(straight.state(), second.state())


def test_a_state_leads_with_the_seed_axis_and_has_three_tensors_for_each_parameter() -> None:
    engine = engine_of(run_config(), (3, 0, 7))
    train(engine, 1, 1)
    state = engine.state()
    names = [name for name, _ in engine.model.named_parameters()]
    assert set(state) == {f"{kind}/{name}" for kind in ("parameter", "mean", "square") for name in names}
    for key, value in state.items():
        assert value.shape == engine.model.get_parameter(key.split("/", 1)[1]).shape
        assert not value.requires_grad


def naive_losses(engine: SingleProcessEngine, windows_NT: Tensor) -> np.ndarray:
    losses = np.zeros((len(engine.seeds), len(windows_NT)))
    for s in range(len(engine.seeds)):
        naive = reference.NaiveGPT(engine.config.model, {n: w[s] for n, w in engine.weights().items()})
        for n, window in enumerate(windows_NT.numpy()):
            losses[s, n] = reference.token_losses(naive.logits(window[:-1]), window[1:]).mean()
    return losses


def test_evaluation_is_the_naive_mean_of_token_losses_without_dropout() -> None:
    engine = engine_of(run_config(dropout=0.3))
    train(engine, 1, 3)
    got = engine.evaluate(WINDOWS[:5])
    assert got.shape == (2, 5)
    assert not got.requires_grad
    np.testing.assert_allclose(got.numpy(), naive_losses(engine, WINDOWS[:5]), rtol=1e-5)


@pytest.mark.parametrize("chunk", [1, 7, 20, 64])
def test_the_number_of_windows_evaluated_at_once_does_not_change_their_losses(chunk: int) -> None:
    losses = [engine_of(run_config(train={"eval_batch_size": size})).evaluate(WINDOWS) for size in (chunk, 13)]
    assert losses[0].shape == (2, len(WINDOWS)) == (2, 20)
    torch.testing.assert_close(losses[0], losses[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_evaluating_and_observing_leave_training_bit_identical(placement: str) -> None:
    config = run_config(norm_placement=placement, dropout=0.1, bias=True)
    blind, watched = engine_of(config), engine_of(config)
    for step in range(1, 11):
        (expected,) = train(blind, step, step)
        watched.evaluate(WINDOWS)
        watched.observe(WINDOWS[:4, :-1], ["residual", "attention", "mlp"])
        (got,) = train(watched, step, step, measure_updates=True)
        watched.weights()
        watched.state()
        assert torch.equal(expected.loss_S, got.loss_S)
    assert_same_bits(blind.state(), watched.state())


def test_observing_sees_what_evaluation_sees() -> None:
    engine = engine_of(run_config(dropout=0.3, layers=3))
    intermediates = engine.observe(WINDOWS[:4, :-1], ["residual", "attention"])
    assert [x.shape for x in intermediates["residual"]] == [(2, 4, 12, 16)] * 4
    assert [x.shape for x in intermediates["attention"]] == [(2, 4, 2, 12, 12)] * 3
    assert not any(x.requires_grad for values in intermediates.values() for x in values)
    stream = engine.model.final_norm(intermediates["residual"][-1])
    logits = stream @ engine.model.embedding.weight.transpose(1, 2)[:, None]
    losses = token_losses(logits, WINDOWS[:4, 1:].expand(2, 4, 12)).mean(2)
    torch.testing.assert_close(losses, engine.evaluate(WINDOWS[:4]), atol=1e-5, rtol=1e-5)


def test_training_touches_no_global_random_state() -> None:
    before_torch, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()
    train(engine_of(run_config(dropout=0.3)), 1, 3)
    assert torch.equal(torch.get_rng_state(), before_torch)
    assert np.array_equal(np.random.get_state()[1], before_numpy)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_one_small_batch_is_learned_by_heart(placement: str) -> None:
    config = run_config(
        optim={"lr": 1e-2, "weight_decay": 0.0}, train={"steps": 200}, norm_placement=placement, width=32
    )
    engine, batch = engine_of(config, (0, 1)), random_tokens(2, 4, 13)
    batch[..., 0] = torch.arange(4)  # so that the first character tells the sequences apart
    for step in range(1, 201):
        out = engine.train_step(step, batch, learning_rate(step, 200, config.optim), measure_updates=False)
        if step == 1:
            assert (out.loss_S > 2).all()
    assert (out.loss_S < 0.02).all(), out.loss_S
