import math

import pytest
import torch
from reference import POSITIONS, model_config, random_model, random_tokens
from torch import Tensor

from gpt.config import ProbeConfig
from gpt.data.batches import repeated_windows
from gpt.model.intermediates import INTERMEDIATES
from gpt.probes.attention import AttentionScores, Induction, distance, entropy, largest, scores


def observed(**changes: object) -> dict[str, list[Tensor]]:
    model = random_model(model_config(layers=3, heads=4, **changes), seeds=2)
    return model(random_tokens(2, 5, 12), capture=["attention", "attention_logits"])[1]


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
def test_the_probe_keeps_scores_by_head_and_heatmaps_of_the_first_window(characters: int, side: int) -> None:
    probe, intermediates = AttentionScores(ProbeConfig(heatmap_characters=characters)), observed()
    assert probe.capture <= set(INTERMEDIATES)
    arrays = probe.measure(intermediates)
    assert {name: tuple(value.shape) for name, value in arrays.items()} == {
        **{f"attention_{name}": (2, 3, 4) for name in ("entropy", "distance", "previous", "first", "logit_max")},
        "attention_heatmap": (2, 3, 4, side, side),
    }
    for layer, weights in enumerate(intermediates["attention"]):
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
    _, intermediates = model(random_tokens(1, 1, 12), capture=["attention", "attention_logits"])
    by_head = AttentionScores(ProbeConfig(heatmap_characters=4)).measure(intermediates)["attention_entropy"][0, 0]
    assert (by_head.diff() > 0).all()


def test_scores_equal_the_naive_sums() -> None:
    weights, length = observed()["attention"][1], 12
    found = scores(weights)
    for s in range(2):
        for h in range(4):
            rows = [weights[s, b, h].tolist() for b in range(5)]
            back = [sum((t - u) * row[t][u] for u in range(t + 1)) for row in rows for t in range(length)]
            previous = [row[t][t - 1] for row in rows for t in range(1, length)]
            first = [row[t][0] for row in rows for t in range(1, length)]
            for name, values in (("distance", back), ("previous", previous), ("first", first)):
                mean = sum(values) / len(values)
                assert found[f"attention_{name}"][s, h].item() == pytest.approx(mean, abs=1e-5)


def looking(target: "list[int]") -> Tensor:
    """Weights (1, 1, 1, T, U) of a head that looks from t at target[t] alone."""
    return torch.nn.functional.one_hot(torch.tensor(target), len(target)).float()[None, None, None]


def test_planted_heads_have_the_scores_of_their_kind() -> None:
    previous, first = looking([0, 0, 1, 2, 3, 4]), looking([0] * 6)
    assert {name: value.item() for name, value in scores(previous).items()} == pytest.approx(
        {
            "attention_entropy": 0.0,
            "attention_distance": 5 / 6,
            "attention_previous": 1.0,
            "attention_first": 1 / 5,
        }
    )
    assert scores(first)["attention_first"].item() == 1.0
    assert scores(first)["attention_previous"].item() == pytest.approx(1 / 5)
    assert scores(first)["attention_distance"].item() == pytest.approx(15 / 6)


@pytest.mark.parametrize("length", [6, 7, 8, 12, 64])
def test_a_planted_induction_head_scores_one_and_its_neighbours_nothing(length: int) -> None:
    """The earlier occurrence lies ceil(T/2) back; what followed it, one character nearer."""
    half = -(-length // 2)
    for shift, expected in ((-1, 0.0), (0, 1.0), (1, 0.0)):
        planted = looking([max(0, min(t, t - half + 1 + shift)) for t in range(length)])
        assert Induction(ProbeConfig()).measure({"attention": [planted]})["attention_induction"].item() == expected


def test_induction_is_measured_on_windows_that_say_everything_twice() -> None:
    windows = repeated_windows(50, 13, 9)
    assert windows.shape == (50, 13)
    assert (windows[:, 7:] == windows[:, :6]).all()
    assert set(windows.flatten().tolist()) == set(range(9))
    assert (windows == repeated_windows(60, 13, 9)[:50]).all()
    assert Induction.windows == "repeated"


def test_the_largest_logit_is_that_of_what_can_be_seen() -> None:
    logits = torch.zeros(1, 1, 2, 4, 4)
    logits[0, 0, 0, 1, 3] = 1e6  # in the future
    logits[0, 0, 0, 3, 1] = -7.0
    logits[0, 0, 1, 2, 2] = 5.0
    assert largest(logits).tolist() == [[7.0, 5.0]]


@pytest.mark.parametrize("position", POSITIONS)
def test_weights_are_the_softmax_of_the_logits_that_can_be_seen(position: str) -> None:
    intermediates = observed(position=position)
    for weights, logits in zip(intermediates["attention"], intermediates["attention_logits"], strict=True):
        for t in range(12):
            expected = torch.softmax(logits[..., t, : t + 1], dim=-1)
            torch.testing.assert_close(weights[..., t, : t + 1], expected)


def test_distance_lies_between_here_and_the_first_character() -> None:
    for weights in observed()["attention"]:
        assert (distance(weights) >= -1e-5).all()
        assert (distance(weights) <= torch.arange(12) + 1e-4).all()
