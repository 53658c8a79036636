import math

import pytest
import torch
from reference import POSITIONS, model_config, random_model, random_tokens
from torch import Tensor

from gpt.model.taps import TAPS
from gpt.probes.attention import attention_probe, entropy


def observed(**changes: object) -> dict[str, list[Tensor]]:
    model = random_model(model_config(layers=3, heads=4, **changes), seeds=2)
    return model(random_tokens(2, 5, 12), want=["attention"])[1]


@pytest.mark.parametrize("position", POSITIONS)
def test_entropy_lies_between_zero_and_the_log_of_what_is_visible(position: str) -> None:
    for weights in observed(position=position)["attention"]:
        entropy_SBHT = entropy(weights)
        assert entropy_SBHT.shape == (2, 5, 4, 12)
        assert (entropy_SBHT >= 0).all()
        assert (entropy_SBHT <= torch.arange(1, 13).log() + 1e-6).all()
        assert (entropy_SBHT[..., 1:] > 0).all()


def test_even_weights_reach_the_bound_and_a_single_look_has_no_entropy() -> None:
    even = torch.ones(9, 9).tril() / torch.arange(1, 10)[:, None]
    torch.testing.assert_close(entropy(even.expand(1, 1, 1, 9, 9))[0, 0, 0], torch.arange(1, 10).log())
    single = torch.nn.functional.one_hot(torch.tensor([0, 0, 2, 1, 4]), 5).float()
    assert entropy(single.expand(1, 1, 1, 5, 5)).tolist() == [[[[0.0] * 5]]]


def test_entropy_equals_the_naive_sum() -> None:
    (weights, *_) = observed()["attention"]
    for t in range(12):
        row = weights[1, 2, 3, t].tolist()
        naive = -sum(w * math.log(w) for w in row if w > 0)
        assert entropy(weights)[1, 2, 3, t].item() == pytest.approx(naive, abs=1e-5)


@pytest.mark.parametrize(("characters", "side"), [(1, 1), (7, 7), (12, 12), (40, 12)])
def test_the_probe_keeps_entropy_by_head_and_heatmaps_of_the_first_window(characters: int, side: int) -> None:
    probe, taps = attention_probe(characters), observed()
    assert probe.want <= set(TAPS)
    arrays = probe.measure(taps)
    assert {name: tuple(value.shape) for name, value in arrays.items()} == {
        "attention_entropy": (2, 3, 4),
        "attention_heatmap": (2, 3, 4, side, side),
    }
    for layer, weights in enumerate(taps["attention"]):
        for s in range(2):
            for h in range(4):
                mean = entropy(weights)[s, :, h].mean()
                torch.testing.assert_close(arrays["attention_entropy"][s, layer, h], mean)
                kept = arrays["attention_heatmap"][s, layer, h].float()
                torch.testing.assert_close(kept, weights[s, 0, h, :side, :side], atol=1e-3, rtol=0)
        assert (arrays["attention_heatmap"].float().sum(-1) - 1).abs().max() < 5e-3


def test_alibi_shows_as_heads_that_look_less_far() -> None:
    """The proof of treatment: without content, a steeper slope leaves less entropy."""
    model = random_model(model_config(position="alibi", heads=4, layers=1))
    with torch.no_grad():
        model.blocks[0].attention.qkv.weight.zero_()
    _, taps = model(random_tokens(1, 1, 12), want=["attention"])
    by_head = attention_probe(4).measure(taps)["attention_entropy"][0, 0]
    assert (by_head.diff() > 0).all()
