"""One seed, many named streams: every random number is a pure function of (seed, stream name, step, index).

Counter-based generation (Philox4x64-10; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) makes
each draw addressable: nothing depends on the order of calls, on the rank or on which seeds are trained together, and
changing one part of a model never shifts another part's numbers. Only `random_raw` of NumPy's generators is promised
stable across NumPy versions, so everything here is derived from it.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_WEYL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_ROUNDS = 10
_BLOCK = 4
"""words that Philox makes at once"""


def stream_id(name: str) -> int:
    """The 64-bit number of a named stream."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def raw(seed: int, stream: str, count: int, step: int = 0) -> NDArray[np.uint64]:
    """The first `count` 64-bit words of (seed, stream, step); a longer draw begins with the shorter one."""
    key = np.array([seed, stream_id(stream)], dtype=np.uint64)  # a plain list of such numbers becomes float64
    return np.random.Philox(key=key, counter=[0, step, 0, 0]).random_raw(count)


def raw_of_steps(seeds: Sequence[int], streams: Sequence[str], steps: range, count: int) -> NDArray[np.uint64]:
    """What `raw` gives, of many steps, streams and seeds at once: (steps, streams, seeds, count).

    NumPy's own generator makes one step's words at a time, and takes longer to begin than to make them.
    """
    blocks = -(-count // _BLOCK)
    key0 = np.array(seeds, dtype=np.uint64)[:, None]
    key1 = np.array([stream_id(stream) for stream in streams], dtype=np.uint64)[:, None, None]
    shape = (len(steps), len(streams), len(seeds), blocks)
    x0: NDArray[np.uint64] = np.broadcast_to(np.arange(1, blocks + 1, dtype=np.uint64), shape)  # NumPy's begins at 1
    x1: NDArray[np.uint64] = np.broadcast_to(np.array(steps, dtype=np.uint64)[:, None, None, None], shape)
    x2 = x3 = np.zeros(shape, dtype=np.uint64)
    for _ in range(_ROUNDS):
        high0, low0 = _product(x0, _MULTIPLIERS[0])
        high1, low1 = _product(x2, _MULTIPLIERS[1])
        x0, x1, x2, x3 = high1 ^ x1 ^ key0, low1, high0 ^ x3 ^ key1, low0
        key0, key1 = key0 + _WEYL[0], key1 + _WEYL[1]
    return np.stack([x0, x1, x2, x3], axis=-1).reshape(*shape[:-1], _BLOCK * blocks)[..., :count]


def _product(x: NDArray[np.uint64], factor: np.uint64) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The upper and the lower 64 bits of a product of 64-bit numbers."""
    low, high, factor_low, factor_high = x & _LOW, x >> _HALF, factor & _LOW, factor >> _HALF
    middle = factor_high * low + (factor_low * low >> _HALF)
    upper = factor_high * high + (middle >> _HALF) + ((factor_low * high + (middle & _LOW)) >> _HALF)
    return upper, x * factor


def integers(seed: int, stream: str, count: int, bound: int, step: int = 0) -> NDArray[np.int64]:
    """`count` integers, uniform over [0, bound) with a bias below bound / 2**32."""
    return _below(bound, raw(seed, stream, count, step))


def integers_of_steps(seeds: Sequence[int], stream: str, count: int, bound: int, steps: range) -> NDArray[np.int64]:
    """What `integers` gives, of many steps and seeds at once: (steps, seeds, count)."""
    return _below(bound, raw_of_steps(seeds, [stream], steps, count)[:, 0])


def _below(bound: int, words: NDArray[np.uint64]) -> NDArray[np.int64]:
    assert 0 < bound < 2**32
    return (((words >> _HALF) * np.uint64(bound)) >> _HALF).astype(np.int64)


def uniform(seed: int, stream: str, count: int, step: int = 0) -> NDArray[np.float64]:
    """`count` numbers, uniform over [0, 1), multiples of 2**-53."""
    return (raw(seed, stream, count, step) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(seed: int, stream: str, count: int, step: int = 0) -> NDArray[np.float64]:
    """`count` standard normal numbers (Box and Muller, 1958)."""
    pairs = (count + 1) // 2
    u = uniform(seed, stream, 2 * pairs, step).reshape(pairs, 2)
    radius = np.sqrt(-2.0 * np.log1p(-u[:, 0]))
    angle = 2.0 * np.pi * u[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:count]
