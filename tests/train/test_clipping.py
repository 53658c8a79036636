"""Norms and clipping against PyTorch's own, one seed's model at a time."""

import math

import pytest
import torch
from reference import model_config, normal, random_model, random_tokens, variants
from torch import Tensor

from gpt.model.gpt import GPT, layer_index, layer_names, token_losses
from gpt.train.optim.clipping import clip_scale, layer_norms, scale_gradients

SEEDS = 3
LOSS_SCALES = (0.01, 1.0, 30.0)


def backward(model: GPT, tokens: Tensor, scales: tuple[float, ...]) -> None:
    """Losses of very different sizes, so that a limit in between clips some seeds and leaves others."""
    losses = token_losses(model(tokens[..., :-1])[0], tokens[..., 1:]).mean((1, 2))
    (losses * torch.tensor(scales)).sum().backward()


def packed_and_alone() -> tuple[GPT, list[GPT]]:
    """The gradients of three seeds in one model, and in a model each."""
    config = model_config(position="learned", bias=True, norm_placement="peri", tie_embeddings=False, qk_norm=True)
    packed, tokens = random_model(config, SEEDS), random_tokens(SEEDS, 2, 9)
    backward(packed, tokens, LOSS_SCALES)
    alone = []
    for s in range(SEEDS):
        model = random_model(config)
        model.load_state_dict({name: value[s : s + 1] for name, value in packed.state_dict().items()})
        backward(model, tokens[s : s + 1], LOSS_SCALES[s : s + 1])
        alone.append(model)
    return packed, alone


def norms_of(model: GPT) -> Tensor:
    config = model_config()
    layers = [layer_index(name, config) for name, _ in model.named_parameters()]
    return layer_norms([p.grad for p in model.parameters()], layers, len(layer_names(config)))


def test_layer_norms_equal_the_naive_sum_and_their_squares_sum_to_the_global_norm() -> None:
    packed, alone = packed_and_alone()
    norm_SL = norms_of(packed)
    assert norm_SL.shape == (SEEDS, 4)
    parts = [("embedding.", "position."), ("blocks.0.",), ("blocks.1.",), ("final_norm.", "head.")]
    for s, model in enumerate(alone):
        for layer, prefixes in enumerate(parts):
            squares = [
                p.grad.double().square().sum().item()
                for name, p in model.named_parameters()
                if name.startswith(prefixes)
            ]
            assert len(squares) >= 2
            assert norm_SL[s, layer].item() == pytest.approx(math.sqrt(sum(squares)), rel=1e-5)
        everything = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
        assert norm_SL[s].square().sum().sqrt().item() == pytest.approx(everything.item(), rel=1e-5)


def test_layer_norms_of_every_variant_leave_no_parameter_out() -> None:
    for config in variants(norm="layernorm", mlp="swiglu"):
        named = [(name, p.detach()) for name, p in random_model(config, seeds=2).named_parameters()]
        layers = [layer_index(name, config) for name, _ in named]
        norm_SL = layer_norms([p for _, p in named], layers, len(layer_names(config)))
        for s in range(2):
            total = sum(p[s].double().square().sum().item() for _, p in named)
            assert norm_SL[s].double().square().sum().item() == pytest.approx(total, rel=1e-5), config


@pytest.mark.parametrize("limit", [1e-3, 0.5, 1e6])
def test_each_seed_is_clipped_as_pytorch_clips_it_alone(limit: float) -> None:
    packed, alone = packed_and_alone()
    norm_S = torch.linalg.vector_norm(norms_of(packed), dim=1)
    scale_S = clip_scale(norm_S, limit)
    scale_gradients([p.grad for p in packed.parameters()], scale_S)
    clipped = []
    for s, model in enumerate(alone):
        before = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
        clipped.append(before.item() > limit)
        torch.testing.assert_close(norm_S[s], before, rtol=1e-5, atol=0)
        for ours, theirs in zip(packed.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(ours.grad[s], theirs.grad[0], rtol=1e-4, atol=1e-6 * limit)
    assert (scale_S < 1).tolist() == clipped
    assert clipped == {1e-3: [True] * 3, 0.5: [False, True, True], 1e6: [False] * 3}[limit]


def test_no_limit_never_scales() -> None:
    norm_S = torch.tensor([0.0, 1.0, 1e30, math.inf, math.nan])
    assert clip_scale(norm_S, None).tolist() == [1.0] * 5


def test_a_gradient_within_the_limit_keeps_every_bit() -> None:
    gradient = normal(4, 3, 2)
    norm_S = gradient.flatten(1).norm(dim=1)
    kept = gradient.clone()
    scale_gradients([kept], clip_scale(norm_S, norm_S.max().item() + 1e-3))
    assert torch.equal(kept, gradient)


def test_the_norm_after_clipping_is_the_limit() -> None:
    gradients = [normal(4, 3, 2), normal(4, 5, seed=1), normal(4, 2, 3, seed=2)]
    norm_S = torch.linalg.vector_norm(layer_norms(gradients, [0, 0, 1], 2), dim=1)
    scale_gradients(gradients, clip_scale(norm_S, 0.1))
    after_S = torch.cat([g.flatten(1) for g in gradients], dim=1).norm(dim=1)
    torch.testing.assert_close(after_S, torch.full((4,), 0.1), rtol=1e-4, atol=0)


def test_a_seed_without_finite_gradients_leaves_the_others_norms_and_gradients() -> None:
    gradients = [normal(3, 4, 5), normal(3, 5, seed=1)]
    expected = layer_norms(gradients, [0, 1], 2)
    gradients[0][1, 0, 0] = math.nan
    norm_SL = layer_norms(gradients, [0, 1], 2)
    assert torch.equal(norm_SL[::2], expected[::2])
    assert norm_SL[1].isnan().tolist() == [True, False]
    before = [g.clone() for g in gradients]
    scale_gradients(gradients, torch.tensor([1.0, math.nan, 0.5]))
    for now, then in zip(gradients, before, strict=True):
        assert torch.equal(now[0], then[0])
        assert torch.equal(now[2], 0.5 * then[2])
        assert now[1].isnan().all()


def test_a_gradient_of_zero_stays_zero() -> None:
    scale_S = clip_scale(torch.zeros(2), 1e-3)
    assert scale_S.tolist() == [1.0, 1.0]
