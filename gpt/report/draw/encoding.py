"""Specs of figures as JSON, and the shares of their grids as bytes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from gpt.report.figures.spec import Color, Figure, Grid

Json = Any
LEVELS = 254
"""of a share between 0 and 1 in a byte"""
BLANK = 255


def encoded(value: Any, weights: bytearray) -> Json:
    """A spec in JSON's types: of a mark its kind and what is not its default, of an array a list, None for NaN."""
    if isinstance(value, Grid) and not value.diverging:
        spec = _fields(value, weights, without=("values", "words"))
        return {**spec, "shape": value.values.shape, "at": _packed(value, weights)}
    if is_dataclass(value):
        return _fields(value, weights)
    if isinstance(value, np.ndarray | np.generic):
        return encoded(value.tolist(), weights)
    if isinstance(value, Mapping):
        return {key: encoded(item, weights) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [encoded(item, weights) for item in value]
    if isinstance(value, float):
        return None if not np.isfinite(value) else int(value) if value.is_integer() and abs(value) < 2**53 else value
    return value


def _fields(value: Any, weights: bytearray, without: Sequence[str] = ()) -> dict[str, Json]:
    kind = {} if isinstance(value, Color) else {"kind": type(value).__name__}
    given = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in without}
    defaults = {f.name: f.default for f in fields(value)}
    return kind | {n: encoded(v, weights) for n, v in given.items() if isinstance(v, np.ndarray) or v != defaults[n]}


def _packed(grid: Grid, weights: bytearray) -> int:
    """Where the grid's values begin."""
    start = len(weights)
    levels = np.rint(LEVELS * np.clip(grid.values, 0, 1))
    weights += np.where(np.isfinite(levels), levels, BLANK).astype(np.uint8).tobytes()
    return start


def sha256(figure: Figure) -> str:
    """Of all that the figure holds."""
    weights = bytearray()
    text = json.dumps(encoded(figure, weights), sort_keys=True)
    return hashlib.sha256(text.encode() + weights).hexdigest()
