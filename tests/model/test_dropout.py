import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from reference import PLACEMENTS, NaiveGPT, model_config, normal, random_model, random_tokens

from gpt import randomness
from gpt.model.dropout import Dropout, DropoutKey, draw_key, draw_words, dropout_sites, mix32
from gpt.model.gpt import token_losses

SEEDS, SHAPE = (3, 1, 2**62 + 1), (8, 6, 10)


def keep(
    seeds: tuple[int, ...] = SEEDS, step: int = 7, samples: range = range(8), site: str = "embedding", rate: float = 0.3
) -> torch.Tensor:
    shape = torch.Size((len(seeds), len(samples), *SHAPE[1:]))
    return Dropout(rate, site).keep(shape, key(seeds, step, samples, site))


def key(seeds: tuple[int, ...], step: int, samples: range, *sites: str) -> DropoutKey:
    """The key of some sites, of the embedding if none is named."""
    return key_of(sites or ["embedding"], seeds, step, samples)


def key_of(sites: Sequence[str], seeds: tuple[int, ...], step: int, samples: range) -> DropoutKey:
    return draw_key(sites, samples, draw_words(sites, seeds, range(step, step + 1))[0])


def murmur_finaliser(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`fmix32` of MurmurHash3, in 32-bit words that wrap."""
    h = x.astype(np.uint32)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return h.astype(np.uint64)


def test_the_mixer_is_murmur_hashs_finaliser() -> None:
    words = randomness.raw(0, "test", 20_000) >> np.uint64(32)
    words[:4] = [0, 1, 2**31, 2**32 - 1]
    mixed = mix32(torch.from_numpy(words.astype(np.uint32).view(np.int32)))
    assert np.array_equal(mixed.numpy().view(np.uint32), murmur_finaliser(words))


def test_the_mixer_gives_murmur_hashs_published_values() -> None:
    """The hash of an empty text is the finaliser of its seed; verification values of the SMHasher suite."""
    mixed = mix32(torch.tensor([0, 1, -1], dtype=torch.int32))
    assert mixed.numpy().view(np.uint32).tolist() == [0, 0x514E28B7, 0x81F16F39]


def test_the_mixer_gives_each_number_another() -> None:
    assert len(mix32(torch.arange(200_000, dtype=torch.int32)).unique()) == 200_000


def test_masks_equal_a_naive_keyed_hash() -> None:
    mask, per_sample = keep(samples=range(4, 8)), math.prod(SHAPE[1:])
    for s, seed in enumerate(SEEDS):
        word = int(randomness.raw(seed, "dropout/embedding", 1, 7)[0])
        for b, sample in enumerate(range(4, 8)):
            elements = np.arange(sample * per_sample, (sample + 1) * per_sample, dtype=np.uint64)
            hashed = murmur_finaliser(elements ^ np.uint64(word % 2**32)) + np.uint64(word >> 32)
            expected = murmur_finaliser(hashed % np.uint64(2**32)) >= round(0.3 * 2**32)
            assert np.array_equal(mask[s, b].reshape(-1).numpy(), expected)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_batching_seeds_leaves_a_seeds_mask_as_it_is(order: tuple[int, ...]) -> None:
    packed = keep(tuple(SEEDS[i] for i in order))
    for place, i in enumerate(order):
        assert torch.equal(packed[place], keep((SEEDS[i],))[0])


@pytest.mark.parametrize("ranks", [[range(4), range(4, 8)], [range(1), range(1, 8)], [range(0, 8, 2), range(1, 8, 2)]])
def test_spreading_samples_over_ranks_leaves_their_masks_as_they_are(ranks: list[range]) -> None:
    whole = keep()
    for samples in ranks:
        assert torch.equal(keep(samples=samples), whole[:, samples.start : samples.stop : samples.step])


def test_masks_of_other_seeds_steps_sites_samples_and_elements_are_unrelated() -> None:
    """At a rate of one half, two unrelated masks agree in half of their elements."""
    seeds, sites = (0, 1, 2, 2**32), ("embedding", "blocks.0.attention", "blocks.0.mlp", "blocks.1.mlp")
    masks = [keep(seeds, step, site=site, rate=0.5).flatten(1) for step in (1, 2, 3) for site in sites]
    mask_NE = torch.cat(masks).double()
    mask_NE = torch.cat([mask_NE, mask_NE.roll(1, dims=1), mask_NE.roll(60, dims=1)])
    pairs, elements = len(mask_NE) * (len(mask_NE) - 1) / 2, mask_NE.shape[1]
    sign_NE = 2 * mask_NE - 1
    correlation_NN = (sign_NE @ sign_NE.T / elements).triu(1)
    assert correlation_NN.abs().max() < 5.5 / math.sqrt(elements), f"{pairs:.0f} pairs"
    assert (correlation_NN.square().sum() / pairs).item() == pytest.approx(1 / elements, rel=0.1)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_the_kept_share_is_right(rate: float) -> None:
    shape = torch.Size((4, 16, 50, 20))
    kept = Dropout(rate, "embedding").keep(shape, key((0, 1, 2, 3), 1, range(16))).double()
    for share, count in ((kept.mean((1, 2, 3)), 16_000), (kept.mean((0, 2, 3)), 4_000), (kept.mean((0, 1, 2)), 3_200)):
        assert (share - (1 - rate)).abs().max() < 4 * math.sqrt(rate * (1 - rate) / count)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_what_is_kept_is_scaled_up_so_that_the_mean_stays(rate: float) -> None:
    x = normal(2, 16, 50, 20) + 3
    dropout_key = key((0, 1), 1, range(16))
    y = Dropout(rate, "embedding")(x, dropout_key)
    kept = Dropout(rate, "embedding").keep(x.shape, dropout_key)
    torch.testing.assert_close(y, torch.where(kept, x / (1 - rate), 0.0))
    spread = math.sqrt(rate / (1 - rate) * x.square().mean().item() / x.numel())
    assert abs(y.mean() - x.mean()) < 4 * spread


def test_no_rate_and_no_noise_leave_everything() -> None:
    x = normal(2, 4, 3)
    assert torch.equal(Dropout(0.0, "embedding")(x, key((0, 1), 1, range(4))), x)
    assert torch.equal(Dropout(0.9, "embedding")(x, None), x)


def test_more_elements_than_the_hash_tells_apart_are_refused() -> None:
    shape = torch.Size((1, 1, 2**20, 2**8))
    with pytest.raises(AssertionError, match="more elements"):
        Dropout(0.1, "embedding").keep(shape, key((0,), 1, range(16, 17)))


def test_evaluation_has_no_dropout_and_training_has() -> None:
    dropping, plain = random_model(model_config(dropout=0.2), 2), random_model(model_config(), 2)
    tokens = random_tokens(2, 4, 8)
    expected = plain(tokens)[0]
    assert torch.equal(dropping(tokens)[0], expected)
    assert (
        not torch.isclose(
            dropping(tokens, dropout_key=key_of(dropout_sites(dropping), (0, 1), 1, range(4)))[0], expected
        )
        .all(-1)
        .any()
    )


def test_each_place_that_drops_has_a_name_of_its_own() -> None:
    model = random_model(model_config(layers=3, dropout=0.2))
    sites = dropout_sites(model)
    assert len(sites) == len(set(sites)) == 7
    assert dropout_sites(random_model(model_config(layers=3))) == []


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rope"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_dropout_acts_after_the_embedding_and_after_each_sublayer(placement: str, position: str) -> None:
    """On the sum with the positions, and before the residual sum or an outer norm, as in Vaswani et al. 2017."""
    config = model_config(norm_placement=placement, position=position, dropout=0.3, bias=True)
    model, tokens = random_model(config, 2), random_tokens(2, 3, 8)
    dropout_key = key_of(dropout_sites(model), (5, 1), 3, range(4, 7))
    logits = model(tokens, dropout_key=dropout_key)[0]
    sites = {module.site: module for module in model.modules() if isinstance(module, Dropout)}
    factors = {name: site.keep(torch.Size((2, 3, 8, 16)), dropout_key).double() / 0.7 for name, site in sites.items()}
    for s, b in np.ndindex(2, 3):
        weights = {name: value[s] for name, value in model.named_parameters()}
        naive = NaiveGPT(config, weights, {name: factor[s, b].numpy() for name, factor in factors.items()})
        expected = torch.from_numpy(naive.logits(tokens[s, b].numpy()))
        torch.testing.assert_close(logits[s, b].double(), expected, atol=2e-4, rtol=1e-4)


def test_gradients_follow_the_mask() -> None:
    x, dropout_key, dropout = (
        normal(1, 2, 8, 16).requires_grad_(),
        key((5,), 3, range(2)),
        Dropout(0.3, "embedding"),
    )
    (gradient,) = torch.autograd.grad(dropout(x, dropout_key).sum(), x)
    torch.testing.assert_close(gradient, dropout.keep(x.shape, dropout_key) / 0.7)


def test_ranks_that_share_a_batch_have_its_logits_and_together_its_gradient() -> None:
    model, tokens = random_model(model_config(dropout=0.3), 2), random_tokens(2, 8, 9)

    def gradients(samples: range) -> tuple[torch.Tensor, list[torch.Tensor]]:
        part = tokens[:, samples.start : samples.stop]
        logits, _ = model(part[..., :-1], dropout_key=key_of(dropout_sites(model), (0, 1), 4, samples))
        loss = token_losses(logits, part[..., 1:]).mean((1, 2)).sum()
        return logits.detach(), list(torch.autograd.grad(loss, list(model.parameters())))

    whole, halves = gradients(range(8)), [gradients(range(4)), gradients(range(4, 8))]
    torch.testing.assert_close(torch.cat([logits for logits, _ in halves], dim=1), whole[0], atol=1e-5, rtol=1e-5)
    for expected, first, second in zip(whole[1], halves[0][1], halves[1][1], strict=True):
        torch.testing.assert_close((first + second) / 2, expected, atol=1e-5, rtol=1e-4)
