import math

import numpy as np
import pytest
import torch
from reference import PLACEMENTS, POSITIONS, VOCABULARY, model_config, variants

from gpt import randomness
from gpt.config import ModelConfig
from gpt.model.gpt import GPT, build_model
from gpt.model.init import initialise

WIDE = {"layers": 3, "heads": 4, "width": 96, "context": 64, "position": "learned", "tie_embeddings": False}


def initial(config: ModelConfig, seeds: tuple[int, ...] = (5,)) -> dict[str, torch.Tensor]:
    return dict(build_model(config, VOCABULARY, seeds).state_dict())


def expected_std(name: str, config: ModelConfig) -> float:
    width, last = config.width, name.rsplit(".", 2)[-2]
    if config.init == "gpt2":
        return 0.02 / math.sqrt(2 * config.layers) if last in ("out", "down") else 0.02
    inner = round(8 * width / 3) if config.mlp == "swiglu" else 4 * width
    fans = {
        "qkv": width + width,
        "out": width + width,
        "up": width + inner,
        "gate": width + inner,
        "down": width + inner,
        "head": width + VOCABULARY,
    }
    return math.sqrt(2 / fans[last]) if last in fans else 1 / math.sqrt(width)


@pytest.mark.parametrize("mlp", ["gelu", "swiglu"])
@pytest.mark.parametrize("init", ["gpt2", "xavier"])
def test_weights_are_normal_with_the_published_deviation(init: str, mlp: str) -> None:
    """Radford et al. 2019 and Glorot and Bengio 2010, equation 16 as a normal; gains are one and shifts zero."""
    config = model_config(**WIDE, init=init, mlp=mlp, bias=True)
    for name, weight in initial(config, (0, 1)).items():
        if weight.ndim == 2:
            assert (weight == name.endswith("weight")).all(), name
            continue
        std, count = expected_std(name, config), weight[0].numel()
        for s in range(2):
            assert weight[s].mean().abs() < 4 * std / math.sqrt(count), name
            assert weight[s].std() == pytest.approx(std, rel=4 / math.sqrt(2 * count)), name


def test_a_weight_is_its_named_draw_times_its_deviation() -> None:
    config = model_config(layers=1, tie_embeddings=False)
    for seed in (0, 7):
        for name, weight in initial(config, (seed,)).items():
            if weight.ndim == 3:
                draw = randomness.normal(seed, f"init/{name}", weight.numel()) * expected_std(name, config)
                assert np.array_equal(weight.reshape(-1).numpy(), draw.astype(np.float32)), name


@pytest.mark.parametrize(
    ("factor", "values", "own"),
    [
        ("position", POSITIONS, ("position.",)),
        ("norm_placement", PLACEMENTS, ()),
        ("norm", ("layernorm", "rmsnorm"), ()),
        ("mlp", ("gelu", "relu"), ()),
        ("mlp", ("gelu", "swiglu"), (".mlp.",)),
        ("qk_norm", (False, True), ()),
        ("bias", (False, True), ()),
        ("tie_embeddings", (False, True), ("head.",)),
        ("dropout", (0.0, 0.5), ()),
        ("attention", ("fused", "explicit"), ()),
    ],
)
@pytest.mark.parametrize("init", ["gpt2", "xavier"])
def test_a_factor_changes_no_initial_value_but_of_its_own_parts(
    init: str, factor: str, values: tuple[object, ...], own: tuple[str, ...]
) -> None:
    first, *others = (initial(model_config(**{"init": init, factor: value})) for value in values)
    for other in others:
        shared = [name for name in first.keys() & other.keys() if not any(part in name for part in own)]
        assert len(shared) >= 8
        for name in shared:
            assert torch.equal(first[name], other[name]), name
        for name in first.keys() ^ other.keys():
            assert factor == "norm_placement" or any(part in name for part in (*own, "norm", "bias")), name


def test_more_layers_leave_the_first_ones_draws() -> None:
    """Only the residual outputs change, by the factor sqrt(2 L) that they are scaled by."""
    two, eight = initial(model_config(layers=2)), initial(model_config(layers=8))
    for name, weight in two.items():
        factor = 2.0 if name.endswith(("out.weight", "down.weight")) else 1.0
        torch.testing.assert_close(weight, factor * eight[name], rtol=1e-6, atol=0)


@pytest.mark.parametrize("init", ["gpt2", "xavier"])
def test_seeds_have_the_weights_they_have_alone_wherever_they_are_packed(init: str) -> None:
    config = model_config(position="learned", tie_embeddings=False, bias=True, init=init)
    alone = {seed: initial(config, (seed,)) for seed in (4, 0, 9)}
    for seeds in [(4, 0, 9), (9, 4, 0), (0, 9)]:
        for name, packed in initial(config, seeds).items():
            for s, seed in enumerate(seeds):
                assert torch.equal(packed[s], alone[seed][name][0]), name


def test_no_two_seeds_and_no_two_parameters_share_their_draws() -> None:
    weights = initial(model_config(position="learned", tie_embeddings=False), (0, 1, 2))
    firsts = [
        round(w[s].view(-1)[0].item() / w[s].std().item(), 5) for w in weights.values() if w.ndim == 3 for s in range(3)
    ]
    assert len(set(firsts)) == len(firsts) > 20


def test_every_parameter_of_every_variant_is_filled() -> None:
    for config in variants(position="learned", norm="layernorm"):
        model = GPT(config, VOCABULARY, 1)
        for parameter in model.parameters():
            torch.nn.init.constant_(parameter, math.nan)
        initialise(model, config, (5,))
        assert all(parameter.isfinite().all() for parameter in model.parameters()), config


def test_building_a_model_touches_no_global_random_state() -> None:
    before_torch, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()
    build_model(model_config(), VOCABULARY, (0, 1))
    assert torch.equal(torch.get_rng_state(), before_torch)
    assert np.array_equal(np.random.get_state()[1], before_numpy)
