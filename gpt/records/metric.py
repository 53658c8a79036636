"""A metric: the rows of a run's record reduced to one number."""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpt.errors import InputError
from gpt.records.catalogue import SCALARS, Scalar
from gpt.records.schema import HELDOUT_LOSS, TEST_LOSS, VAL_LOSS


@dataclass(frozen=True)
class Reducer:
    title: str
    """with braces where the scalar's title belongs"""
    of: Callable[[Sequence[float], Sequence[float]], float]
    """of the values, and of the validation losses in the same rows, NaN where a row has none"""


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _at_best_val(values: Sequence[float], val_losses: Sequence[float]) -> float:
    """The value in the first row with the lowest validation loss."""
    best = min(_finite(val_losses), default=None)
    return math.nan if best is None else values[val_losses.index(best)]


REDUCERS: dict[str, Reducer] = {
    "min": Reducer("lowest {}", lambda values, _: min(_finite(values), default=math.nan)),
    "max": Reducer("highest {}", lambda values, _: max(_finite(values), default=math.nan)),
    "mean": Reducer("mean {}", lambda values, _: math.fsum(values) / len(values) if values else math.nan),
    "last": Reducer("last {}", lambda values, _: values[-1] if values else math.nan),
    "at_best_val": Reducer("{} at the lowest validation loss", _at_best_val),
}
CHOOSING = frozenset({"min", "max"})
"""reducers that choose a row by the value itself, so that what they give is no fair estimate of it"""


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
        return REDUCERS[self.reducer].title.format(self.scalar.title)

    def of(self, rows: Iterable[Mapping[str, Any]]) -> float:
        """Reduce the rows that hold the key; NaN when there is none.

        Null stands for a number that was not finite: `last` and `mean` are then NaN, `min` and `max` are those of the
        finite values, and `at_best_val` looks at the finite validation losses alone.
        """
        found = [row for row in rows if self.key in row]
        values = [_number(row[self.key]) for row in found]
        return REDUCERS[self.reducer].of(values, [_number(row.get(VAL_LOSS)) for row in found])


def unfair(metric: Metric, has_test: bool) -> str:
    """Why a verdict cannot be read off a metric; empty if it can.

    Choices (the best step, the best model, a learning rate) are made by validation loss, so that where there is test
    text the verdict must be read off that, and not at a step that was chosen by it.

    Args:
        has_test: some held-out text is kept for verdicts alone.
    """
    fair = f"{TEST_LOSS}.at_best_val or {TEST_LOSS}.last"
    if not has_test and metric.key in (TEST_LOSS, HELDOUT_LOSS):
        return (
            f"got {metric}, but the base has no test text (data.test_share is 0): must be {VAL_LOSS}.min, for instance"
        )
    if has_test and metric.key in (VAL_LOSS, HELDOUT_LOSS):
        return (
            f"got {metric}, must be {fair}: the base has test text (data.test_share), and choices are made by "
            f"{VAL_LOSS}; with data.test_share 0 in the base it means what it meant before"
        )
    if metric.key == TEST_LOSS and metric.reducer in CHOOSING:
        return f"got {metric}, must be {fair}: it would choose the step by the text that is to judge it"
    return ""


def default_metric(has_test: bool) -> str:
    """What a study is judged by that names no metric."""
    return f"{TEST_LOSS}.at_best_val" if has_test else f"{VAL_LOSS}.min"


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
