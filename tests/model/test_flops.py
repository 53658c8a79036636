import pytest
import torch
from reference import POSITIONS, VOCABULARY, model_config, variants
from torch.utils.flop_counter import FlopCounterMode

from gpt.config import ModelConfig
from gpt.model.flops import parameter_count, training_flops_per_token
from gpt.model.gpt import GPT


def unfilled(config: ModelConfig, vocabulary: int = VOCABULARY, seeds: int = 1) -> GPT:
    return GPT(config, vocabulary, seeds)


def hand_count(config: ModelConfig, vocabulary: int) -> int:
    """Every weight, written out."""
    d, k, shift = config.width, config.width // config.heads, config.bias
    norm_shift = shift and config.norm == "layernorm"
    f = round(8 * d / 3) if config.mlp == "swiglu" else 4 * d
    attention = 3 * d * d + shift * 3 * d + d * d + shift * d
    if config.qk_norm:
        attention += 2 * (k + norm_shift * k)
    ups = 2 if config.mlp == "swiglu" else 1
    mlp = ups * (d * f + shift * f) + f * d + shift * d
    norms = (4 if config.norm_placement == "peri" else 2) * (d + norm_shift * d)
    total = vocabulary * d + config.layers * (attention + mlp + norms)
    total += config.context * d if config.position == "learned" else 0
    total += 0 if config.norm_placement == "post" else d + norm_shift * d
    return total + (0 if config.tie_embeddings else d * vocabulary)


def test_parameter_counts_of_every_variant_equal_the_hand_count() -> None:
    positions = [model_config(position=position) for position in POSITIONS]
    for config in [*variants(position="learned"), *positions]:
        assert parameter_count(unfilled(config)) == hand_count(config, VOCABULARY), config


def test_stacked_seeds_hold_as_many_numbers_each() -> None:
    config = model_config(position="learned", bias=True, norm_placement="peri", qk_norm=True)
    together = unfilled(config, seeds=3)
    assert sum(parameter.numel() for parameter in together.parameters()) == 3 * parameter_count(together)
    assert parameter_count(together) == parameter_count(unfilled(config))
    assert training_flops_per_token(together, config) == training_flops_per_token(unfilled(config), config)


@pytest.mark.parametrize(
    ("published", "vocabulary", "shape"),
    [
        (124_439_808, 50_257, {"layers": 12, "heads": 12, "width": 768, "context": 1024, "bias": True}),
        (10_646_784 + 256 * 384, 65, {"layers": 6, "heads": 6, "width": 384, "context": 256, "bias": False}),
    ],
    ids=["GPT-2 small", "nanoGPT's baby GPT, which is counted there without its positions"],
)
def test_parameter_counts_of_published_models(published: int, vocabulary: int, shape: dict[str, int]) -> None:
    assert parameter_count(unfilled(model_config(position="learned", **shape), vocabulary)) == published


def test_the_arithmetic_of_gpt2_small_by_hand() -> None:
    config = model_config(layers=12, heads=12, width=768, context=1024, bias=True, position="learned")
    block = 768 * 3 * 768 + 768 * 768 + 2 * 768 * 4 * 768
    attention = 2 * 1024 * 768 * 2
    forward = 12 * (2 * block + attention) + 2 * 768 * 50_257
    assert training_flops_per_token(unfilled(config, 50_257), config) == 3 * forward == 854_438_400


def test_the_arithmetic_of_a_gated_untied_model_by_hand() -> None:
    config = model_config(layers=3, heads=2, width=12, context=5, mlp="swiglu", tie_embeddings=False, qk_norm=True)
    forward = 3 * (2 * (12 * 36 + 12 * 12 + 3 * 12 * 32) + 2 * 5 * 12 * 2) + 2 * 12 * 11
    assert training_flops_per_token(unfilled(config, 11), config) == 3 * forward


@pytest.mark.parametrize("seeds", [1, 2])
def test_counted_arithmetic_is_what_pytorch_counts_in_a_step(seeds: int) -> None:
    """PyTorch counts the products that are launched; at full context the count per token is the same number."""
    for config in variants(
        position="rope", norm_placement="pre", norm="layernorm", qk_norm=False, attention="explicit"
    ):
        with torch.device("meta"):
            model = GPT(config, VOCABULARY, seeds)
            tokens = torch.zeros(seeds, 3, config.context, dtype=torch.long)
            with FlopCounterMode(display=False) as counter:
                model(tokens)[0].sum().backward()
        expected = training_flops_per_token(model, config) * tokens.numel()
        assert counter.get_total_flops() == expected, config
