"""Looks at a comparison while its seeds are still being run: how small a p must be at each, so that all looks together
reject a true hypothesis with at most the stated probability.

At look k, with n_k of the n_K pairs that are planned at most, the share t = n_k / n_K of the evidence is there, and
`alpha * t**3` of the error may have been spent (Kim and DeMets 1987, Biometrika 74:149, rho = 3; the alpha spending of
Lan and DeMets 1983, Biometrika 70:659). This is of the O'Brien-Fleming type: early looks, whose few pairs say little,
take overwhelming evidence, and the last one asks for hardly more than a test without looks. The cube is taken rather
than O'Brien and Fleming's own function since its bounds rise with alpha over the whole range, so that looks have a p of
their own (`sequential_p`), which Holm's method corrects as any other.

Bounds are of a statistic that is normal with independent increments (Armitage, McPherson and Rowe 1969, JRSS A
132:235). They are given as nominal p values, to be compared with those of the sign-flip or t test of the pairs so far;
docs/statistics.md has what error that leaves.
"""

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gpt.errors import InputError

Floats = NDArray[np.float64]

RHO = 3
"""power of the share of the evidence that is spent"""
NODES = 96
"""of the quadrature over the statistic's range at a look"""
FAR = 9.0
"""standard deviations beyond which a normal density is nothing"""
LEVELS = np.geomspace(1e-6, 1.0, 121)[:-1]
"""at which bounds are known, to be interpolated between"""


@cache
def bounds(looks: tuple[int, ...], alpha: float = 0.05, sides: int = 2) -> tuple[float, ...]:
    """The p at or below which each look ends the comparison.

    Args:
        looks: pairs at each look, rising; the last is the most that are planned.
        alpha: probability that any of them rejects a true hypothesis.
        sides: of the test whose p is compared, 1 or 2.

    Raises:
        InputError: `looks` do not rise from at least 1, or `alpha` is not between 0 and 1.
    """
    check_looks(looks)
    if not 0 < alpha < 1:
        raise InputError(f"alpha: got {alpha:g}, must be between 0 and 1")
    from scipy import special

    shares = [n / looks[-1] for n in looks]
    spent = [alpha * share**RHO for share in shares]
    nominal = [spent[0]]
    limit = _z(nominal[0], sides) * math.sqrt(shares[0])
    at, weight = _nodes(limit, shares[0], sides)
    density = weight * _density(at, shares[0])
    for (earlier, share), (before, now) in zip(pairwise(shares), pairwise(spent), strict=True):
        step = math.sqrt(share - earlier)

        z = _solve(at, density, math.sqrt(share), step, now - before, sides)
        nominal.append(float(special.ndtr(-z)) * sides)
        to, weight = _nodes(z * math.sqrt(share), share, sides)
        density = weight * (_density(to[:, None] - at, step**2) @ density)
        at = to
    return tuple(nominal)


def sequential_p(p_values: Sequence[float], looks: tuple[int, ...], sides: int = 2) -> float:
    """The least alpha at which the looks so far would have ended the comparison; NaN where no look has a p.

    It is a p value of its own: under a true hypothesis it is at most alpha with probability alpha at most, however many
    of the looks are made.

    Args:
        p_values: of the pairs at each look so far; NaN where there was none.
        looks: pairs at each look that is planned.
    """
    if len(p_values) > len(looks):
        raise InputError(f"p_values: got {len(p_values)}, must be one for each of at most {len(looks)} looks")
    found = [_level_of(p, looks, k, sides) for k, p in enumerate(p_values) if not math.isnan(p)]
    return min(found, default=math.nan)


def check_looks(looks: Sequence[int]) -> None:
    """Raise InputError unless looks rise from at least 1."""
    if not looks or looks[0] < 1 or any(b <= a for a, b in pairwise(looks)):
        raise InputError(f"looks: got {list(looks)}, must be rising numbers of pairs")


def _level_of(p: float, looks: tuple[int, ...], look: int, sides: int) -> float:
    """The alpha whose bound at this look is p."""
    if len(looks) == 1:
        return p
    at_L = _bounds_by_level(looks, sides)[:, look]
    if p <= at_L[0]:
        return float(LEVELS[0] * p / at_L[0])
    if p >= at_L[-1]:
        return 1.0
    return float(np.exp(np.interp(math.log(p), np.log(at_L), np.log(LEVELS))))


@cache
def _bounds_by_level(looks: tuple[int, ...], sides: int) -> Floats:
    return np.array([bounds(looks, float(level), sides) for level in LEVELS])


def _solve(at: Floats, density: Floats, sd: float, step: float, wanted: float, sides: int) -> float:
    """The z that is crossed at a look, and at none before, with the wanted probability.

    Args:
        at: statistics that go on from the look before.
        density: of these, times the weights of the quadrature.
        sd: of the statistic at this look; `step`: of what it gains since the one before.
    """
    from scipy import optimize, special

    def excess(z: float) -> float:
        beyond = special.ndtr((at - z * sd) / step)
        if sides == 2:
            beyond = beyond + special.ndtr((-z * sd - at) / step)
        return float(density @ beyond) - wanted

    return float(optimize.brentq(excess, -FAR if sides == 1 else 0.0, FAR))


def _z(p: float, sides: int) -> float:
    from scipy import special

    return -float(special.ndtri(p / sides))


def _nodes(limit: float, variance: float, sides: int) -> tuple[Floats, Floats]:
    """Places and weights of a quadrature over the statistics that go on to the next look."""
    far = FAR * math.sqrt(variance)
    low, high = (max(-limit, -far), min(limit, far)) if sides == 2 else (-far, min(limit, far))
    x, weight = _quadrature()
    half = (high - low) / 2
    return low + half * (x + 1), weight * half


@cache
def _quadrature() -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(NODES)


def _density(x: Floats, variance: float) -> Floats:
    """Of a normal distribution about 0."""
    return np.exp(-(x**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
