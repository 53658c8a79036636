"""What runs record, declared once: tables, figures, the interactive page, CSV and W&B all derive from these entries.

A probe, the package's or a plug-in's, declares its arrays beside the measurement. A run keeps the entries of all that
it may record in its run.json, so that its records can be read without the code that made them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from gpt.records.schema import (
    CLIP_SCALE,
    GRAD_NORM,
    HELDOUT_LOSS,
    LAYER_GRAD_NORM,
    LR,
    MICRO_BATCH_GRAD_NORM,
    TEST_LOSS,
    TRAIN_LOSS,
    UPDATE_RATIO,
    VAL_LOSS,
    WINDOW_IS_TEST,
    WINDOW_LOSS_BEST,
    WINDOW_LOSS_LAST,
)

NATS = "nats per character"
BY_LAYER = ("layer", "depth", "module")
"""axes along the model: Transformer layers; after the embedding and after each of them; everything with parameters"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One kind of recorded number."""

    name: str
    title: str = ""
    """a few words, as a heading or on an axis"""
    unit: str = ""
    meaning: str = ""
    """what it is or tells, in a line"""

    @property
    def is_share(self) -> bool:
        """It is a part of a whole, which reads best in per cent."""
        return self.unit.startswith("share")


@dataclass(frozen=True, kw_only=True)
class Scalar(Entry):
    """One number that a row may hold."""

    lower_is_better: bool | None = None
    """None where neither direction is better"""


@dataclass(frozen=True, kw_only=True)
class Summary(Entry):
    """One number of a whole run, made of an array, whose name and unit it has unless it is given others.

    Only with a title it is a column where settings share a table.
    """

    name: str = ""
    steps: Literal["last", "all"] = "last"
    """probed steps that it is made of"""
    over: Literal["mean", "max", "growth"] = "mean"
    """how: `growth` is the last entry over the first, along the model"""


@dataclass(frozen=True, kw_only=True)
class Array(Entry):
    """An array measured at several steps, or once on the trained model; the seed axis is not counted."""

    axes: tuple[str, ...]
    """of `BY_LAYER`, `head`, `position`, `key`, `distance`, or any other word; what ends in `position`, `key` holds
    shares between 0 and 1
    """
    scale: Literal["linear", "log", "symlog"] = "linear"
    neutral: float | None = None
    """what it would be if nothing special were going on, for instance with attention spread evenly"""
    neutral_title: str = ""
    """of that level"""
    summaries: tuple[Summary, ...] = ()

    def __post_init__(self) -> None:
        own = tuple(replace(s, name=s.name or self.name, unit=s.unit or self.unit) for s in self.summaries)
        object.__setattr__(self, "summaries", own)

    @property
    def is_heatmap(self) -> bool:
        """Shown as pictures, and for its size read at few steps."""
        return self.axes[-2:] == ("position", "key")


SCALARS: dict[str, Scalar] = {
    scalar.name: scalar
    for scalar in (
        Scalar(
            name=TRAIN_LOSS,
            title="training loss",
            unit=NATS,
            meaning="loss of the step's batch, before the step's update",
            lower_is_better=True,
        ),
        Scalar(
            name=VAL_LOSS,
            title="validation loss",
            unit=NATS,
            meaning="loss over all validation text, by which the best step is chosen; on evaluation rows only",
            lower_is_better=True,
        ),
        Scalar(
            name=TEST_LOSS,
            title="test loss",
            unit=NATS,
            meaning="loss over all test text, by which nothing is chosen; on evaluation rows only",
            lower_is_better=True,
        ),
        Scalar(
            name=HELDOUT_LOSS,
            title="held-out loss",
            unit=NATS,
            meaning="loss over validation and test text together, which nanoGPT calls its validation loss",
            lower_is_better=True,
        ),
        Scalar(name=GRAD_NORM, title="gradient norm", unit="loss per weight", meaning="global, before clipping"),
        Scalar(
            name=CLIP_SCALE,
            title="clipping factor",
            unit="factor",
            meaning="what the gradient was multiplied by; 1 when it was not clipped",
        ),
        Scalar(name=LR, title="learning rate", unit="per step"),
    )
}
"""numbers of a row"""

TRAINING_ARRAYS = (
    Array(
        name=LAYER_GRAD_NORM,
        axes=("module",),
        unit="loss per weight",
        title="gradient norm of the layer",
        meaning="before clipping",
        scale="log",
    ),
    Array(
        name=MICRO_BATCH_GRAD_NORM,
        axes=("micro-batch",),
        unit="loss per weight",
        title="gradient norm of the micro-batch",
        meaning="of the mean gradient of each equal part of the batch",
        scale="log",
    ),
    Array(
        name=UPDATE_RATIO,
        axes=("module",),
        title="update / weight",
        meaning="norm of one step's change over the norm of the weights: layers far apart learn at different speeds",
        scale="log",
    ),
)
"""what training records whether or not anything is probed"""
WINDOW_ARRAYS = (
    Array(
        name=WINDOW_LOSS_BEST,
        axes=("window",),
        unit=NATS,
        title="loss of the held-out window",
        meaning="at the step of the lowest validation loss",
    ),
    Array(
        name=WINDOW_LOSS_LAST,
        axes=("window",),
        unit=NATS,
        title="loss of the held-out window",
        meaning="at the last step",
    ),
    Array(
        name=WINDOW_IS_TEST,
        axes=("window",),
        unit="yes or no",
        title="test text",
        meaning="whether the held-out window is of test text; windows are in the order of the text",
    ),
)
"""what is kept of a run with test text, beside its rows"""

_ARRAYS = TypeAdapter(list[Array])


def arrays_of(run_json: Mapping[str, Any]) -> dict[str, Array]:
    """The arrays that a run describes, by name.

    Raises:
        ValueError: they are no `Array`s.
    """
    return {array.name: array for array in _ARRAYS.validate_python(run_json.get("arrays", []))}


def axis_names(axis: str, size: int, modules: Sequence[str]) -> list[str]:
    """What the entries along an axis are called.

    Args:
        modules: everything with parameters, from the input to the output, as `layers` in run.json.
    """
    layers = [name for name in modules if name.startswith("layer ")]
    along = {"layer": layers, "depth": ["embedding", *layers], "module": list(modules)}.get(axis)
    if along is not None and len(along) == size:
        return along
    return [f"head {i}" if axis == "head" else str(i) for i in range(size)]


@dataclass(frozen=True)
class Coordinates:
    title: str
    at: list[float]


def coordinates(axis: str, arrays: Mapping[str, NDArray[np.floating]], size: int) -> Coordinates:
    """Where the entries along an axis of numbers lie.

    Args:
        arrays: recorded together; an axis with the name of one has its values.
    """
    if axis in arrays:
        return Coordinates("characters", arrays[axis].tolist())
    title, first = {"distance": ("characters back", 0), "position": ("position", 1)}.get(axis, (axis, 0))
    return Coordinates(title, list(range(first, first + size)))
