import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt.data.batches import consecutive_windows, training_batch
from gpt.randomness import integers

TRAIN = np.arange(10_000)


def test_a_batch_is_windows_at_the_starts_its_stream_draws() -> None:
    batch = training_batch(TRAIN, [7, 3], step=11, samples=range(5), context=16)
    assert batch.shape == (2, 5, 17)
    assert batch.dtype == np.int64
    for s, seed in enumerate([7, 3]):
        starts = integers(seed, "batches", 5, len(TRAIN) - 16, 11)
        for b, start in enumerate(starts):
            assert batch[s, b].tolist() == list(range(start, start + 17))


def test_known_batch() -> None:
    batch = training_batch(TRAIN, [0, 1, 2**62 + 1], step=5, samples=range(8), context=16)
    assert batch[0, :4, 0].tolist() == [6209, 5205, 7478, 5846]
    assert hashlib.sha256(batch.astype("<i8").tobytes()).hexdigest()[:16] == "5d20cfda04670846"


@given(
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4),
    step=st.integers(0, 10**6),
    start=st.integers(0, 9),
    stop=st.integers(1, 10),
    stride=st.integers(1, 3),
)
def test_a_window_depends_on_seed_step_and_sample_alone(
    seeds: list[int], step: int, start: int, stop: int, stride: int
) -> None:
    samples = range(start, stop, stride)
    part = training_batch(TRAIN, seeds, step, samples, context=8)
    assert part.shape == (len(seeds), len(samples), 9)
    for s, seed in enumerate(seeds):
        alone = training_batch(TRAIN, [seed], step, range(10), context=8)
        assert np.array_equal(part[s], alone[0, start:stop:stride])


def test_ranks_together_see_the_whole_batch() -> None:
    whole = training_batch(TRAIN, [0, 1], 3, range(8), 16)
    ranks = [training_batch(TRAIN, [0, 1], 3, range(4 * rank, 4 * rank + 4), 16) for rank in range(2)]
    assert np.array_equal(np.concatenate(ranks, axis=1), whole)


def test_seeds_and_steps_see_different_windows() -> None:
    starts = np.stack([training_batch(TRAIN, range(20), step, range(12), 16)[:, :, 0] for step in range(20)])
    batches = starts.reshape(400, 12)
    assert len(np.unique(batches, axis=0)) == 400


def test_neighbouring_large_seeds_see_different_windows() -> None:
    a, b = training_batch(TRAIN, [2**62, 2**62 + 1], 0, range(12), 16)
    assert not np.array_equal(a, b)


def test_every_start_is_drawn_equally_often() -> None:
    train = np.arange(23)
    starts = training_batch(train, [0], 0, range(30_000), context=8)[0, :, 0]
    counts = np.bincount(starts, minlength=15)
    assert len(counts) == 15
    assert counts.min() > 1800
    assert counts.max() < 2200


def test_the_shortest_text_has_one_window() -> None:
    train = np.arange(9)
    assert (training_batch(train, [0, 1], 4, range(3), context=8) == train).all()


def test_a_batch_is_a_copy() -> None:
    train = TRAIN.copy()
    training_batch(train, [0], 0, range(4), 16)[:] = -1
    consecutive_windows(train, 16)[:] = -1
    assert np.array_equal(train, TRAIN)


@given(length=st.integers(2, 300), context=st.integers(1, 40))
def test_consecutive_windows_hold_each_target_once(length: int, context: int) -> None:
    if length <= context:
        return
    val = np.arange(length)
    windows = consecutive_windows(val, context)
    assert windows.shape == ((length - 1) // context, context + 1)
    targets = windows[:, 1:].reshape(-1)
    assert np.array_equal(targets, np.arange(1, len(targets) + 1))
    assert 0 <= length - 1 - len(targets) < context
    assert np.array_equal(windows[:, :-1] + 1, windows[:, 1:])


@pytest.mark.parametrize(("length", "windows"), [(65, 1), (128, 1), (129, 2), (111_540, 1742)])
def test_known_numbers_of_consecutive_windows(length: int, windows: int) -> None:
    assert len(consecutive_windows(np.arange(length), 64)) == windows
