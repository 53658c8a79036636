"""One seed, many named streams: every random number is a pure function of (seed, stream name, step, index).

Counter-based generation (Philox4x64-10; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) makes
each draw addressable: nothing depends on the order of calls, on the rank or on which seeds are trained together, and
changing one part of a model never shifts another part's numbers. Only `random_raw` of NumPy's generators is promised
stable across NumPy versions, so everything here is derived from it.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


def stream_id(name: str) -> int:
    """The 64-bit number of a named stream."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def raw(seed: int, stream: str, count: int, step: int = 0) -> NDArray[np.uint64]:
    """The first `count` 64-bit words of (seed, stream, step); a longer draw begins with the shorter one."""
    key = np.array([seed, stream_id(stream)], dtype=np.uint64)  # a plain list of such numbers becomes float64
    return np.random.Philox(key=key, counter=[0, step, 0, 0]).random_raw(count)


def integers(seed: int, stream: str, count: int, bound: int, step: int = 0) -> NDArray[np.int64]:
    """`count` integers, uniform over [0, bound) with a bias below bound / 2**32."""
    assert 0 < bound < 2**32
    return (((raw(seed, stream, count, step) >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)


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
