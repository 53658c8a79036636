import math

import pytest
import torch
from reference import model_config, normal, random_model, random_tokens

from gpt.config import ProbeConfig
from gpt.model.intermediates import INTERMEDIATES
from gpt.probes.activations import DEAD, DeadUnits, ResidualStatistics, excess_kurtosis

RESIDUAL, DEAD_UNITS = ResidualStatistics(ProbeConfig()), DeadUnits(ProbeConfig())


def test_residual_statistics_equal_their_naive_definitions() -> None:
    stream = [scale * normal(2, 3, 5, 4, seed=layer) ** 3 + 0.01 for layer, scale in enumerate((0.02, 1.0, 30.0))]
    found = RESIDUAL.measure({"residual": stream})
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "residual_rms": (2, 3),
        "residual_max": (2, 3),
        "residual_kurtosis": (2, 3),
    }
    for s in range(2):
        for layer, x in enumerate(stream):
            numbers = x[s].flatten().tolist()
            mean = sum(numbers) / len(numbers)
            second, fourth = (sum((number - mean) ** power for number in numbers) / len(numbers) for power in (2, 4))
            rms = math.sqrt(sum(number**2 for number in numbers) / len(numbers))
            assert found["residual_rms"][s, layer].item() == pytest.approx(rms, rel=1e-5)
            assert found["residual_max"][s, layer].item() == max(map(abs, numbers))
            assert found["residual_kurtosis"][s, layer].item() == pytest.approx(fourth / second**2 - 3, rel=1e-4)


def test_excess_kurtosis_is_that_of_known_distributions() -> None:
    """Normal 0, uniform -6/5, two equal points -2, Laplace 3."""
    u = (torch.arange(1_000_000, dtype=torch.float64) + 0.5) / 1_000_000
    laplace = torch.where(u < 0.5, (2 * u).log(), -(2 - 2 * u).log())
    known = {0.0: torch.special.ndtri(u), -1.2: u, -2.0: (u > 0.5).double(), 3.0: laplace}
    for expected, values in known.items():
        assert excess_kurtosis(values[None].float()).item() == pytest.approx(expected, abs=0.01)


def test_a_hidden_unit_is_dead_only_if_it_is_small_on_every_character() -> None:
    hidden = normal(1, 3, 5, 8).abs() + 1.0
    hidden[..., 2] = 0.0
    hidden[..., 5] = 0.5 * DEAD
    hidden[..., 6] = 0.5 * DEAD
    hidden[0, 2, 4, 6] = 1.0  # dead but for one character: alive
    assert DEAD_UNITS.measure({"mlp": [hidden]})["dead_share"].tolist() == [[2 / 8]]


def test_a_large_negative_bias_kills_units_and_the_probe_finds_them() -> None:
    model = random_model(model_config(bias=True, layers=2), seeds=2)
    with torch.no_grad():
        model.blocks[1].mlp.up.bias[1, : model.blocks[1].mlp.up.bias.shape[1] // 4] = -100.0
    _, intermediates = model(random_tokens(2, 4, 8), capture=DEAD_UNITS.capture)
    assert DEAD_UNITS.measure(intermediates)["dead_share"].tolist() == [[0.0, 0.0], [0.0, 0.25]]


def test_half_precision_streams_are_measured_in_single_precision() -> None:
    stream = (300.0 * torch.ones(1, 2, 3, 4)).half()
    assert RESIDUAL.measure({"residual": [stream]})["residual_rms"].tolist() == [[300.0]]


def test_the_probe_measures_what_it_wants_of_a_model() -> None:
    assert RESIDUAL.capture <= set(INTERMEDIATES)
    model, tokens = random_model(model_config(layers=3), seeds=2), random_tokens(2, 4, 8)
    _, intermediates = model(tokens, capture=RESIDUAL.capture)
    arrays = RESIDUAL.measure(intermediates)
    assert {tuple(value.shape) for value in arrays.values()} == {(2, 4)}
    embedded = model.embedding(tokens)
    torch.testing.assert_close(arrays["residual_rms"][:, 0], embedded.square().mean((1, 2, 3)).sqrt())


def test_post_norm_shows_as_a_stream_of_unit_size() -> None:
    """The proof of treatment: with gains of one, each layer's output is normalised; before it, it is not."""
    for placement in ("pre", "post"):
        model = random_model(model_config(norm_placement=placement, layers=3))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("norm.weight"):
                    parameter.fill_(1.0)
        intermediates = model(random_tokens(1, 4, 8), capture=["residual"])[1]
        rms = RESIDUAL.measure(intermediates)["residual_rms"][0]
        at_one = (rms[1:] - 1).abs().max().item() < 1e-3
        assert at_one == (placement == "post")


def test_a_seed_that_is_not_finite_shows_alone() -> None:
    stream = normal(3, 2, 4, 4)
    stream[1, 0, 0, 0] = math.nan
    for value in RESIDUAL.measure({"residual": [stream]}).values():
        assert value.isnan().tolist() == [[False], [True], [False]]
