import math

import pytest
import reference
import torch
from reference import (
    PLACEMENTS,
    POSITIONS,
    VOCABULARY,
    NaiveGPT,
    model_config,
    normal,
    random_model,
    random_tokens,
    variants,
)

from gpt.model.gpt import build_model, layer_index, layer_names, token_losses
from gpt.model.intermediates import INTERMEDIATES

by_position_and_placement = pytest.mark.parametrize(
    ("position", "placement"), [(position, placement) for position in POSITIONS for placement in PLACEMENTS]
)


@by_position_and_placement
def test_logits_of_every_variant_equal_the_naive_models(position: str, placement: str) -> None:
    tokens = random_tokens(2, 1, 5)
    for config in variants(position=position, norm_placement=placement):
        model = random_model(config, seeds=2)
        logits, _ = model(tokens)
        assert logits.shape == (2, 1, 5, VOCABULARY)
        for s in range(2):
            naive = NaiveGPT(config, {name: value[s] for name, value in model.named_parameters()})
            expected = torch.from_numpy(naive.logits(tokens[s, 0].numpy()))
            torch.testing.assert_close(logits[s, 0].double(), expected, atol=2e-4, rtol=1e-4, msg=str(config))


@by_position_and_placement
def test_future_tokens_do_not_change_logits(position: str, placement: str) -> None:
    tokens, now = random_tokens(2, 2, 8), 5
    changed = tokens.clone()
    changed[..., now:] = (changed[..., now:] + 1) % VOCABULARY
    for config in variants(position=position, norm_placement=placement):
        model = random_model(config, seeds=2)
        logits, intermediates = model(tokens, capture=["residual"])
        others, _ = model(changed)
        assert torch.equal(logits[..., :now, :], others[..., :now, :]), config
        assert not torch.isclose(logits[..., now:, :], others[..., now:, :]).all(-1).any(), config

        (gradient,) = torch.autograd.grad(logits[..., :now, :].square().sum(), intermediates["residual"][0])
        assert not gradient[..., now:, :].any(), config
        assert gradient[..., :now, :].any(-1).all(), config


@pytest.mark.parametrize("attention", ["fused", "explicit"])
@by_position_and_placement
def test_the_past_alone_gives_the_logits_of_the_whole_window(position: str, placement: str, attention: str) -> None:
    model = random_model(model_config(position=position, norm_placement=placement, attention=attention), seeds=2)
    tokens = random_tokens(2, 2, 12)
    whole, _ = model(tokens)
    for length in (1, 5):
        torch.testing.assert_close(model(tokens[..., :length])[0], whole[..., :length, :], atol=1e-4, rtol=1e-4)


@by_position_and_placement
def test_a_seeds_loss_has_no_gradient_in_another_seeds_parameters(position: str, placement: str) -> None:
    model = random_model(model_config(position=position, norm_placement=placement, bias=True), seeds=3)
    logits, _ = model(random_tokens(3, 2, 8))
    token_losses(logits, random_tokens(3, 2, 8, seed=1)).mean((1, 2))[1].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad[1].any(), name
        assert not parameter.grad[0].any(), name
        assert not parameter.grad[2].any(), name


def test_taps_are_what_they_say_and_change_nothing() -> None:
    config = model_config(layers=3)
    model, tokens = random_model(config, seeds=2), random_tokens(2, 4, 8)
    plain, nothing = model(tokens)
    logits, intermediates = model(tokens, capture=["residual", "mlp"])
    assert nothing == {}
    assert torch.equal(plain, logits)
    _, intermediates = model(tokens, capture=list(INTERMEDIATES))
    assert {name: [tuple(x.shape) for x in values] for name, values in intermediates.items()} == {
        "residual": [(2, 4, 8, 16)] * 4,
        "attention": [(2, 4, 2, 8, 8)] * 3,
        "attention_logits": [(2, 4, 2, 8, 8)] * 3,
        "mlp": [(2, 4, 8, 64)] * 3,
    }
    torch.testing.assert_close(intermediates["residual"][0], model.embedding(tokens))
    final = model.final_norm(intermediates["residual"][-1])
    torch.testing.assert_close(final @ model.embedding.weight.transpose(1, 2)[:, None], logits, atol=1e-4, rtol=1e-4)


def test_an_unknown_tap_is_refused() -> None:
    with pytest.raises(AssertionError, match="no such intermediates: \\['atention'\\]"):
        random_model(model_config())(random_tokens(1, 1, 4), capture=["atention"])


def test_a_tied_projection_is_the_embedding_and_an_untied_one_is_not() -> None:
    tied = build_model(model_config(tie_embeddings=True), VOCABULARY, (0, 1))
    untied = build_model(model_config(tie_embeddings=False), VOCABULARY, (0, 1))
    names = {name for name, _ in tied.named_parameters()}
    assert {name for name, _ in untied.named_parameters()} - names == {"head.weight"}
    token_losses(tied(random_tokens(2, 1, 4) * 0)[0], random_tokens(2, 1, 4) * 0).sum().backward()
    assert tied.embedding.weight.grad[:, 5].any(), "an unread row learns through the projection"


def test_token_losses_equal_the_naive_cross_entropy() -> None:
    logits, targets = 5 * normal(2, 3, 4, 7), random_tokens(2, 3, 4, vocabulary=7)
    losses = token_losses(logits, targets)
    assert losses.shape == (2, 3, 4)
    for s in range(2):
        for b in range(3):
            expected = reference.token_losses(logits[s, b].double().numpy(), targets[s, b].numpy())
            torch.testing.assert_close(losses[s, b].double(), torch.from_numpy(expected), atol=1e-5, rtol=1e-5)


def test_token_losses_are_in_single_precision_whatever_the_logits_are() -> None:
    logits, targets = normal(1, 2, 3, 7).bfloat16(), random_tokens(1, 2, 3, vocabulary=7)
    losses = token_losses(logits, targets)
    assert losses.dtype == torch.float32
    assert torch.equal(losses, token_losses(logits.float(), targets))


@by_position_and_placement
def test_every_parameter_belongs_to_a_layer_and_every_layer_has_parameters(position: str, placement: str) -> None:
    for config in variants(position=position, norm_placement=placement):
        names = [name for name, _ in random_model(config).named_parameters()]
        layers = [layer_index(name, config) for name in names]
        expected = {"embedding": 0, "position": 0, "final_norm": 3, "head": 3, "blocks.0": 1, "blocks.1": 2}
        for name, layer in zip(names, layers, strict=True):
            start = next(prefix for prefix in expected if name.startswith(f"{prefix}."))
            assert layer == expected[start], (config, name)
        assert set(layers) == set(range(len(layer_names(config)))), f"a layer without parameters: {config}"


def test_layers_are_named_from_input_to_output() -> None:
    assert layer_names(model_config(layers=3)) == ["embedding", "layer 0", "layer 1", "layer 2", "head"]
    assert layer_index("blocks.11.mlp.up.weight", model_config(layers=12)) == 12


@pytest.mark.parametrize("position", POSITIONS)
def test_a_new_model_knows_nothing(position: str) -> None:
    """Loss ln(V) at the start; a tied projection leans towards the character just read, which costs a little."""
    tokens = random_tokens(3, 8, 65, vocabulary=65)
    for tied, margin in ((False, 0.06), (True, 0.35)):
        config = model_config(
            layers=4, heads=4, width=128, context=64, position=position, tie_embeddings=tied, norm_placement="pre"
        )
        logits, _ = build_model(config, 65, (0, 1, 2))(tokens[..., :-1])
        loss_S = token_losses(logits, tokens[..., 1:]).mean((1, 2))
        assert loss_S.tolist() == pytest.approx([math.log(65)] * 3, abs=margin)
