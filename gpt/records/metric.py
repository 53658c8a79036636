"""A metric: the rows of a run's record reduced to one number."""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpt.errors import InputError
from gpt.records.catalogue import SCALARS, Scalar


@dataclass(frozen=True)
class Reducer:
    title: str
    of: Callable[[Sequence[float]], float]


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


REDUCERS: dict[str, Reducer] = {
    "min": Reducer("lowest", lambda values: min(_finite(values), default=math.nan)),
    "max": Reducer("highest", lambda values: max(_finite(values), default=math.nan)),
    "mean": Reducer("mean", lambda values: math.fsum(values) / len(values) if values else math.nan),
    "last": Reducer("last", lambda values: values[-1] if values else math.nan),
}


@dataclass(frozen=True)
class Metric:
    """A scalar's rows reduced to one number, written as `val/loss.min`."""

    key: str
    reducer: str

    def __str__(self) -> str:
        return f"{self.key}.{self.reducer}"

    @property
    def scalar(self) -> Scalar:
        return SCALARS[self.key]

    @property
    def title(self) -> str:
        """`lowest validation loss`."""
        return f"{REDUCERS[self.reducer].title} {self.scalar.title}"

    def of(self, rows: Iterable[Mapping[str, Any]]) -> float:
        """Reduce the rows that hold the key; NaN when there is none.

        Null stands for a number that was not finite: `last` and `mean` are then NaN, `min` and `max` are those of the
        finite values.
        """
        return REDUCERS[self.reducer].of([_number(row[self.key]) for row in rows if self.key in row])


def _number(value: float | None) -> float:
    return float(value) if value is not None and math.isfinite(value) else math.nan


def parse_metric(text: str) -> Metric:
    """`val/loss.min` as a metric.

    Raises:
        InputError: an unknown name; lists those that exist and the nearest.
    """
    key, _, reducer = text.rpartition(".")
    if key in SCALARS and reducer in REDUCERS:
        return Metric(key, reducer)
    names = [f"{key}.{reducer}" for key in SCALARS for reducer in REDUCERS]
    near = difflib.get_close_matches(text, names, n=1)
    raise InputError(
        f"unknown metric {text!r}"
        + (f"; did you mean {near[0]}?" if near else "")
        + f"; must be one of {', '.join(SCALARS)} followed by one of {', '.join('.' + name for name in REDUCERS)}"
    )
