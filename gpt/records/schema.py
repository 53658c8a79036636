"""The vocabulary of a run's records: the scalars of its rows, the kinds of its events, and what a metric is."""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpt.errors import InputError

TRAIN_LOSS = "train/loss"
VAL_LOSS = "val/loss"
GRAD_NORM = "grad/norm"
CLIP_SCALE = "grad/clip_scale"
LR = "lr"
NATS = "nats per character"

LAYER_GRAD_NORM = "grad/layer_norm"
"""Key of a list: each layer's gradient norm before clipping, in the order of `layers` in run.json."""

MICRO_BATCH_GRAD_NORM = "grad/micro_batch_norm"
"""Key of a list: the norm of the mean gradient of each part of the batch, a rank's micro-batch; parts have one size."""


@dataclass(frozen=True)
class Scalar:
    """One number that a row may hold."""

    title: str
    unit: str
    description: str
    lower_is_better: bool | None = None
    """None where neither direction is better"""


SCALARS: dict[str, Scalar] = {
    TRAIN_LOSS: Scalar(
        "training loss", "nats per character", "loss of the step's batch, before the step's update", True
    ),
    VAL_LOSS: Scalar(
        "validation loss", "nats per character", "loss over the whole validation split, on evaluation rows only", True
    ),
    GRAD_NORM: Scalar("gradient norm", "loss per weight", "global gradient norm, before clipping"),
    CLIP_SCALE: Scalar("clipping factor", "factor", "what the gradient was multiplied by; 1 when it was not clipped"),
    LR: Scalar("learning rate", "per step", "learning rate"),
}

NONFINITE = "nonfinite"
SPIKE = "spike"
LEARNED_NOTHING = "learned_nothing"
ENTROPY_COLLAPSE = "entropy_collapse"

EVENTS: dict[str, str] = {
    NONFINITE: "a loss or the gradient norm is NaN or infinite",
    SPIKE: "the training loss jumps far above its recent level",
    LEARNED_NOTHING: "the run ends no better than a model that knows only how frequent each character is",
    ENTROPY_COLLAPSE: "a layer's attention has become so sharp that its heads look at next to one character each",
}


def even_entropy(context: int) -> float:
    """Mean entropy in nats of attention that spreads evenly over all visible positions: the mean of ln t, t = 1..T."""
    return math.fsum(math.log(t) for t in range(1, context + 1)) / context


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


REDUCERS: dict[str, Callable[[Sequence[float]], float]] = {
    "min": lambda values: min(_finite(values), default=math.nan),
    "max": lambda values: max(_finite(values), default=math.nan),
    "mean": lambda values: math.fsum(values) / len(values) if values else math.nan,
    "last": lambda values: values[-1] if values else math.nan,
}
REDUCED = {"min": "lowest", "max": "highest", "mean": "mean", "last": "last"}


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
        return f"{REDUCED[self.reducer]} {self.scalar.title}"

    def of(self, rows: Iterable[Mapping[str, Any]]) -> float:
        """Reduce the rows that hold the key; NaN when there is none.

        Null stands for a number that was not finite: `last` and `mean` are then NaN, `min` and `max` are those of the
        finite values.
        """
        found = [row[self.key] for row in rows if self.key in row]
        return REDUCERS[self.reducer]([_number(value) for value in found])


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
