import math

import pytest
import torch
from reference import model_config, normal, random_model, random_tokens

from gpt.model.taps import TAPS
from gpt.probes.activations import ACTIVATIONS, residual_rms


def test_residual_rms_equals_the_naive_root_mean_square() -> None:
    stream = [scale * normal(2, 3, 5, 4, seed=layer) for layer, scale in enumerate((0.02, 1.0, 30.0))]
    rms = residual_rms({"residual": stream})["residual_rms"]
    assert rms.shape == (2, 3)
    for s in range(2):
        for layer, x in enumerate(stream):
            numbers = x[s].flatten().tolist()
            naive = math.sqrt(sum(number**2 for number in numbers) / len(numbers))
            assert rms[s, layer].item() == pytest.approx(naive, rel=1e-5)


def test_half_precision_streams_are_measured_in_single_precision() -> None:
    stream = (300.0 * torch.ones(1, 2, 3, 4)).half()
    assert residual_rms({"residual": [stream]})["residual_rms"].tolist() == [[300.0]]


def test_the_probe_measures_what_it_wants_of_a_model() -> None:
    assert ACTIVATIONS.want <= set(TAPS)
    model, tokens = random_model(model_config(layers=3), seeds=2), random_tokens(2, 4, 8)
    _, taps = model(tokens, want=ACTIVATIONS.want)
    arrays = ACTIVATIONS.measure(taps)
    assert {name: tuple(value.shape) for name, value in arrays.items()} == {"residual_rms": (2, 4)}
    embedded = model.embedding(tokens)
    torch.testing.assert_close(arrays["residual_rms"][:, 0], embedded.square().mean((1, 2, 3)).sqrt())


def test_post_norm_shows_as_a_stream_of_unit_size() -> None:
    """The proof of treatment: with gains of one, each block's output is normalised; before it, it is not."""
    for placement in ("pre", "post"):
        model = random_model(model_config(norm_placement=placement, layers=3))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("norm.weight"):
                    parameter.fill_(1.0)
        rms = residual_rms(model(random_tokens(1, 4, 8), want=["residual"])[1])["residual_rms"][0]
        at_one = (rms[1:] - 1).abs().max().item() < 1e-3
        assert at_one == (placement == "post")


def test_a_seed_that_is_not_finite_shows_alone() -> None:
    stream = normal(3, 2, 4, 4)
    stream[1, 0, 0, 0] = math.nan
    assert residual_rms({"residual": [stream]})["residual_rms"].isnan().tolist() == [[False], [True], [False]]
