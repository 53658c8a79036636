"""What is unusual in a curve, value by value: a jump, a drift, an oscillation.

Every rule depends on the values so far alone, and tells once when it begins to hold, again only after it ceased to.
"""

import math
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


def spread(values: NDArray[np.float64]) -> float:
    """A robust standard deviation: that of the normal distribution with the same median distance from the median."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


class Jump:
    """A value far above its local trend.

    The trend is the median of the last few values. Steep descent moves it, so that the distances from it, whose spread
    says what is far, are small even where the values themselves differ by nats.
    """

    TREND: ClassVar[int] = 9
    """values whose median is the trend"""
    WINDOW: ClassVar[int] = 100
    """distances from the trend whose spread is taken"""
    DEVIATIONS: ClassVar[float] = 8.0
    """robust standard deviations above the trend that make a jump"""
    EARLY: ClassVar[int] = 25
    """values for which the spread is not yet trusted, and a larger least jump holds"""

    def __init__(self, least: float, least_early: float):
        """
        Args:
            least: no smaller rise above the trend is a jump.
            least_early: the same for the first values.
        """
        self._least, self._least_early = least, least_early
        self._recent: deque[float] = deque(maxlen=self.TREND)
        self._distances: deque[float] = deque(maxlen=self.WINDOW)
        self._seen, self._inside = 0, False

    def observe(self, value: float) -> float | None:
        """The trend, where the value begins to be far above it."""
        trend = median(self._recent) if self._recent else value
        far = value - trend > self.least and value - trend > self.bound()
        if self._recent:
            self._distances.append(value - trend)
        self._recent.append(value)
        self._seen += 1
        begins, self._inside = far and not self._inside, far
        return trend if begins else None

    @property
    def least(self) -> float:
        """The least rise that the next value needs, whatever the spread."""
        return self._least_early if self._seen < self.EARLY else self._least

    def bound(self) -> float:
        """The rise above the trend that the next value needs to be a jump."""
        return max(self.least, self.DEVIATIONS * spread(np.array(self._distances))) if self._distances else self.least


@dataclass(frozen=True)
class Rise:
    """A level and the lowest one before it."""

    level: float
    lowest: float


class Drift:
    """A level that has risen slowly above its lowest: the median of the last values, looked at now and then.

    It ends where the rise is down to half of what makes one.
    """

    WINDOW: ClassVar[int] = 100
    """values whose median is the level"""
    EVERY: ClassVar[int] = 10
    """values from one look to the next"""
    DEVIATIONS: ClassVar[float] = 1.25
    """robust standard deviations of the window's values that make a drift: ten standard errors of their median"""

    def __init__(self, least: float):
        self._least = least
        self._recent: deque[float] = deque(maxlen=self.WINDOW)
        self._lowest = math.inf
        self._seen, self._inside = 0, False

    @property
    def level(self) -> float:
        """The median of the last values; NaN before there is one."""
        return median(self._recent) if self._recent else math.nan

    def observe(self, value: float) -> Rise | None:
        """How far the level has risen, where it begins to count."""
        self._recent.append(value)
        self._seen += 1
        if len(self._recent) < self.WINDOW or self._seen % self.EVERY:
            return None
        level = self.level
        self._lowest = min(self._lowest, level)
        needed = 0.5 if self._inside else 1.0
        rise = level - self._lowest
        high = rise > needed * self._least and rise > needed * self.DEVIATIONS * spread(np.array(self._recent))
        begins, self._inside = high and not self._inside, high
        return Rise(level, self._lowest) if begins else None


@dataclass(frozen=True)
class Swing:
    """One period of an oscillation."""

    height: float
    """from bottom to top, of a sine that varies as much"""
    period: float
    """values"""


class Oscillation:
    """Values that rise and fall in turn: one period holds most of what varies within a window.

    A straight line is taken out and the window's ends are faded (Hann), so that the slower descent holds nothing of the
    periods that are looked at. The share of the largest of them is Fisher's g, with its two neighbours.
    """

    WINDOW: ClassVar[int] = 128
    """values that are looked at together"""
    EVERY: ClassVar[int] = 32
    """values from one look to the next"""
    SHARE: ClassVar[float] = 0.5
    """of the variance over the periods, held by one of them"""
    SLOWEST: ClassVar[int] = 4
    """periods in a window that are needed; what is slower is a drift"""

    def __init__(self, least: float):
        """
        Args:
            least: no smaller swing, from bottom to top, is an oscillation.
        """
        self._least = least
        self._recent: deque[float] = deque(maxlen=self.WINDOW)
        self._seen, self._inside = 0, False

    def observe(self, value: float) -> Swing | None:
        """The oscillation, where it begins."""
        self._recent.append(value)
        self._seen += 1
        if len(self._recent) < self.WINDOW or self._seen % self.EVERY:
            return None
        swing = self._swing()
        begins = swing is not None and not self._inside
        self._inside = swing is not None
        return swing if begins else None

    def _swing(self) -> Swing | None:
        values, at = np.array(self._recent), np.arange(self.WINDOW) - (self.WINDOW - 1) / 2
        straight = values.mean() + at * (at @ values) / (at @ at)
        power = np.abs(np.fft.rfft((values - straight) * np.hanning(self.WINDOW))) ** 2
        power[: self.SLOWEST - 1] = 0.0
        power[-1] /= 2  # the other frequencies stand for two, theirs and its negative
        largest = int(power.argmax())
        held = float(power[largest - 1 : largest + 2].sum())
        height = 2 * math.sqrt(32 * held / 3) / self.WINDOW  # Hann keeps 3/8 of the power of a sine
        if largest < self.SLOWEST or held < self.SHARE * power.sum() or height < self._least:
            return None
        return Swing(height, self.WINDOW / largest)
