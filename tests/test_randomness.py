import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gpt.randomness import integers, integers_of_steps, normal, raw, raw_of_steps, stream_id, uniform

STREAMS = ["init", "batches", "dropout", "sampling"]
WORD = 2**64
seeds = st.integers(0, 2**63 - 1)
steps = st.integers(0, 2**63 - 1)


def philox(counter: list[int], key: list[int]) -> list[int]:
    """One block of Philox4x64-10, as the paper has it."""
    c, k = list(counter), list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * c[0], WORD)
        high1, low1 = divmod(0xCA5A826395121157 * c[2], WORD)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B97F4A7C15) % WORD, (k[1] + 0xBB67AE8584CAA73B) % WORD]
    return c


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ("0 0 0 0", "0 0", "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
        (
            "ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff",
            "ffffffffffffffff ffffffffffffffff",
            "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
        ),
        (
            "243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89",
            "452821e638d01377 be5466cf34e90c6c",
            "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
        ),
    ],
)
def test_the_reference_gives_the_known_answers_of_random123(counter: str, key: str, words: str) -> None:
    def parse(text: str) -> list[int]:
        return [int(word, 16) for word in text.split()]

    assert philox(parse(counter), parse(key)) == parse(words)


@given(seed=seeds, stream=st.text(), step=steps)
def test_words_are_philox_keyed_by_seed_and_stream_and_counted_by_step(seed: int, stream: str, step: int) -> None:
    key = [seed, stream_id(stream)]
    expected = philox([1, step, 0, 0], key) + philox([2, step, 0, 0], key)
    assert raw(seed, stream, 8, step).tolist() == expected


@given(seeds=st.lists(seeds, max_size=3), first=st.integers(0, 2**62), count=st.integers(1, 9))
def test_many_steps_streams_and_seeds_at_once_have_the_words_of_each(seeds: list[int], first: int, count: int) -> None:
    steps = range(first, first + 3)
    words = raw_of_steps(seeds, STREAMS[:2], steps, count)
    assert words.shape == (3, 2, len(seeds), count)
    drawn = integers_of_steps(seeds, "batches", count, 65, steps)
    for n, step in enumerate(steps):
        for s, seed in enumerate(seeds):
            for x, stream in enumerate(STREAMS[:2]):
                assert words[n, x, s].tolist() == raw(seed, stream, count, step).tolist()
            assert drawn[n, s].tolist() == integers(seed, "batches", count, 65, step).tolist()


@pytest.mark.parametrize("stream", STREAMS)
def test_the_streams_in_use_keep_every_bit_of_a_large_seed(stream: str) -> None:
    for seed in (2**53, 2**62, 2**63 - 2):
        assert raw(seed, stream, 4).tolist() != raw(seed + 1, stream, 4).tolist()


def test_known_values() -> None:
    assert stream_id("batches") == 0xDF49BC3DE6297646
    assert raw(0, "batches", 2).tolist() == [12306604972948470123, 4290035369112494760]
    assert raw(1, "init", 2, step=3).tolist() == [15151053740598679913, 2859122462565025985]
    assert integers(0, "batches", 5, 1000).tolist() == [667, 232, 225, 334, 338]
    assert uniform(0, "dropout", 2).tolist() == [0.38281132950023156, 0.9041152900537115]
    assert normal(0, "init", 3) == pytest.approx(
        [0.027759005955649167, -2.9641711314358536, 0.11763227472696337], rel=1e-12
    )


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 100])
def test_a_longer_draw_begins_with_the_shorter(count: int) -> None:
    for draw in (raw, uniform, normal):
        assert np.array_equal(draw(5, "init", count, 2), draw(5, "init", 101, 2)[:count])
    assert np.array_equal(integers(5, "init", count, 65, 2), integers(5, "init", 101, 65, 2)[:count])


def test_streams_steps_and_seeds_share_no_word() -> None:
    words = [raw(seed, stream, 50, step) for seed in range(10) for stream in STREAMS for step in range(10)]
    assert len(np.unique(np.concatenate(words))) == 10 * len(STREAMS) * 10 * 50


def test_a_draw_touches_no_other_random_state() -> None:
    before = np.random.get_state()[1].copy()
    first = raw(0, "init", 4)
    np.random.default_rng(0).random(3)
    assert np.array_equal(raw(0, "init", 4), first)
    assert np.array_equal(np.random.get_state()[1], before)


def test_uniform_numbers_fill_the_unit_interval() -> None:
    u = uniform(0, "dropout", 100_000)
    assert u.min() >= 0
    assert u.max() < 1
    assert np.array_equal(u * 2**53, np.floor(u * 2**53))
    assert stats.kstest(u, "uniform").pvalue > 1e-3


def test_normal_numbers_are_standard_normal() -> None:
    z = normal(0, "init", 100_000)
    assert abs(z.mean()) < 4 / np.sqrt(100_000)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / 100_000)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert np.isfinite(z).all()
    assert abs(np.corrcoef(z[0::2], z[1::2])[0, 1]) < 4 / np.sqrt(50_000)


@pytest.mark.parametrize("bound", [2, 7, 65, 1000])
def test_integers_are_uniform_below_their_bound(bound: int) -> None:
    draws = integers(0, "batches", 100_000, bound)
    counts = np.bincount(draws)
    assert draws.dtype == np.int64
    assert len(counts) == bound
    assert stats.chisquare(counts).pvalue > 1e-3


def test_below_one_there_is_only_zero() -> None:
    assert not integers(0, "batches", 1000, 1).any()


def test_integers_reach_the_ends_of_a_wide_range() -> None:
    bound = 2**32 - 1
    draws = integers(0, "batches", 100_000, bound)
    assert 0 <= draws.min() < bound * 1e-3
    assert bound * (1 - 1e-3) < draws.max() < bound


@pytest.mark.parametrize("bound", [0, 2**32])
def test_a_bound_out_of_range_is_refused(bound: int) -> None:
    with pytest.raises(AssertionError):
        integers(0, "batches", 1, bound)
