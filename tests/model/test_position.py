import math

import numpy as np
import pytest
import reference
import torch
from reference import model_config, normal, random_model, random_tokens
from torch import Tensor

from gpt.model.init import INITIALISATIONS
from gpt.model.position import POSITIONS, Rope, alibi_slopes, sinusoids

SHIFT = 4


def test_sinusoids_equal_the_formula_of_the_paper() -> None:
    """Vaswani et al. 2017, section 3.5."""
    expected = torch.from_numpy(reference.sinusoids(200, 32))
    torch.testing.assert_close(sinusoids(200, 32).double(), expected, atol=1e-7, rtol=0)


def test_sinusoids_of_the_papers_width() -> None:
    table = sinusoids(2, 512)
    assert table[0].tolist() == [0.0, 1.0] * 256
    assert table[1, :2].tolist() == pytest.approx([math.sin(1), math.cos(1)], abs=1e-7)
    assert table[1, 510].item() == pytest.approx(math.sin(10_000 ** (-510 / 512)), rel=1e-6)


@pytest.mark.parametrize("init", ["gpt2", "xavier"])
def test_sinusoids_are_as_large_beside_the_embeddings_as_in_the_paper(init: str) -> None:
    """Waves of amplitude one beside embeddings of variance 1 / D that are multiplied by sqrt(D)."""
    config = model_config(position="sinusoidal", init=init)
    added = POSITIONS["sinusoidal"](config, 2).add(torch.zeros(2, 3, 12, 16))
    waves = torch.from_numpy(reference.sinusoids(12, 16)).float() * INITIALISATIONS[init](config).table_std()
    torch.testing.assert_close(added, waves.expand(2, 3, 12, 16))


def test_learned_positions_add_each_seeds_own_vector() -> None:
    learned = POSITIONS["learned"](model_config(position="learned"), 2)
    with torch.no_grad():
        learned.weight.copy_(normal(2, 12, 16))
    x = normal(2, 3, 5, 16, seed=1)
    for s in range(2):
        for t in range(5):
            torch.testing.assert_close(learned.add(x)[s, :, t], x[s, :, t] + learned.weight[s, t])


def test_rope_is_a_complex_rotation_of_pairs() -> None:
    """Su et al. 2021, equations 13 and 34."""
    x = normal(2, 3, 2, 12, 8)
    turned = Rope(model_config(), 2).rotate(x)
    for s, b, h in np.ndindex(2, 3, 2):
        expected = torch.from_numpy(reference.rope(x[s, b, h].double().numpy()))
        torch.testing.assert_close(turned[s, b, h].double(), expected, atol=1e-6, rtol=0)


def test_rope_keeps_lengths_and_leaves_the_first_position() -> None:
    x = normal(1, 2, 2, 12, 8)
    turned = Rope(model_config(), 1).rotate(x)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[..., 0, :], x[..., 0, :])


def test_rope_keeps_its_precision_at_far_positions() -> None:
    rope = Rope(model_config(width=64, heads=1, context=8192), 1)
    angle = 8191 * 10_000 ** (-np.arange(0, 64, 2) / 64)
    torch.testing.assert_close(rope.cos_TK[-1, :32].double(), torch.from_numpy(np.cos(angle)), atol=1e-6, rtol=0)
    torch.testing.assert_close(rope.sin_TK[-1, 32:].double(), torch.from_numpy(np.sin(angle)), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("heads", "slopes"),
    [
        (1, [2**-8]),
        (2, [2**-4, 2**-8]),
        (8, [2**-1, 2**-2, 2**-3, 2**-4, 2**-5, 2**-6, 2**-7, 2**-8]),
        (16, [2 ** (-n / 2) for n in range(1, 17)]),
        (3, [2**-4, 2**-8, 2**-2]),
        (6, [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]),
        (12, [2**-1, 2**-2, 2**-3, 2**-4, 2**-5, 2**-6, 2**-7, 2**-8, 2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]),
    ],
)
def test_alibi_slopes_are_the_published_ones(heads: int, slopes: list[float]) -> None:
    """Press et al. 2022, section 3; off the powers of two, its footnote: every second slope of twice as many heads."""
    assert alibi_slopes(heads).tolist() == pytest.approx(slopes, rel=1e-6)


def test_alibi_bias_is_the_slope_times_the_distance() -> None:
    bias = POSITIONS["alibi"](model_config(position="alibi", heads=4), 1).bias_HTU(6)
    for h, t in np.ndindex(4, 6):
        expected = reference.alibi_bias(h, 4, 6)[t, : t + 1]
        assert bias[h, t, : t + 1].tolist() == pytest.approx(expected.tolist(), rel=1e-6)


@pytest.mark.parametrize("kind", POSITIONS)
def test_each_kind_acts_in_one_place_and_only_learned_positions_are_trained(kind: str) -> None:
    position = POSITIONS[kind](model_config(position=kind), 2)
    x_SBTD, q_SBHTK = normal(2, 1, 12, 16), normal(2, 1, 2, 12, 8)
    for parameter in position.parameters():
        torch.nn.init.ones_(parameter)
    acts = {
        "add": not torch.equal(position.add(x_SBTD), x_SBTD),
        "rotate": not torch.equal(position.rotate(q_SBHTK), q_SBHTK),
        "bias": position.bias_HTU(12) is not None,
    }
    place = {"learned": "add", "sinusoidal": "add", "rope": "rotate", "alibi": "bias"}.get(kind)
    assert [name for name, acted in acts.items() if acted] == ([place] if place else [])
    assert len(list(position.parameters())) == (kind == "learned")
    assert not position.state_dict() or kind == "learned"


def first_layer_logits(position: str, tokens_T: Tensor) -> Tensor:
    """(H, T, U): attention logits of the first block, each row less its last one, which the weights cannot tell."""
    model = random_model(model_config(position=position, context=16))
    _, intermediates = model(tokens_T.view(1, 1, -1), capture=["attention"])
    log_HTU = intermediates["attention"][0][0, 0].double().log()
    return log_HTU - log_HTU.diagonal(dim1=1, dim2=2)[:, :, None]


@pytest.mark.parametrize(
    ("position", "relative"),
    [("rope", True), ("alibi", True), ("none", True), ("sinusoidal", False), ("learned", False)],
)
def test_logits_depend_on_distance_alone_where_positions_are_relative(position: str, relative: bool) -> None:
    tokens_T = random_tokens(8)
    logits_HTU = first_layer_logits(position, tokens_T)
    later_HTU = first_layer_logits(position, torch.cat([random_tokens(SHIFT, seed=1), tokens_T]))[:, SHIFT:, SHIFT:]
    past = torch.ones(8, 8).tril().bool()
    moved = (logits_HTU - later_HTU)[:, past].abs().max().item()
    assert (moved < 1e-4) == relative, f"logits moved by {moved}"
    assert relative or moved > 0.1


@pytest.mark.parametrize("position", POSITIONS)
def test_one_block_without_positions_cannot_tell_the_order_of_the_past(position: str) -> None:
    """Only with one: in a second block each past character has seen another past."""
    model = random_model(model_config(position=position, layers=1))
    tokens = torch.tensor([[[1, 2, 3, 4, 5, 6, 7]]])
    turned = torch.tensor([[[6, 3, 1, 5, 2, 4, 7]]])
    moved = (model(tokens)[0][..., -1, :] - model(turned)[0][..., -1, :]).abs().max().item()
    assert (moved < 1e-5) == (position == "none"), f"logits moved by {moved}"


def test_a_second_block_tells_the_order_of_the_past_even_without_positions() -> None:
    """The causal mask alone carries position (Haviv et al. 2022)."""
    model = random_model(model_config(position="none", layers=2))
    logits = model(torch.tensor([[[1, 2, 3, 4, 5, 6, 7]]]))[0][..., -1, :]
    turned = model(torch.tensor([[[6, 3, 1, 5, 2, 4, 7]]]))[0][..., -1, :]
    assert (logits - turned).abs().max() > 1e-2
