"""What a run's folder has for W&B: rows after a step, arrays as named numbers, pictures."""

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.run_reader import RunReader
from gpt.errors import InputError
from gpt.records.files import parse_json
from gpt.records.run_folder import load_arrays

MOST_SERIES = 256
"""numbers of one probe array that become series of their own; a larger array stays in its file"""
PIXELS = 4
"""of a heatmap, along each side of one attention weight"""

Row = dict[str, Any]


class RowReader:
    """Rows of a file that grows, and that a resumed run cuts back and writes again; each step is given out once."""

    def __init__(self, path: Path, through: int):
        """
        Args:
            through: last step that was given out before; -1 for none.
        """
        self.path = path
        self.through = through
        self._offset = 0

    def new(self, finished: bool) -> list[Row]:
        """The whole rows after the last one given out.

        The last row of a run that goes on is held back: what the probes measure at its step is written after it.

        Raises:
            InputError: a row is corrupt.
        """
        data = self._read()
        try:
            rows = _rows(data)
        except ValueError:  # cut back and written again with other bytes, so that the offset is no row's beginning
            self._offset = 0
            data = self._read()
            try:
                rows = _rows(data)
            except ValueError as error:
                raise InputError(f"{self.path}: corrupt, must hold rows in step order: {error}") from None
        if rows and not finished:
            rows.pop()
        self._offset += rows[-1][1] if rows else 0
        new = [row for row, _ in rows if row["step"] > self.through]
        self.through = new[-1]["step"] if new else self.through
        return new

    def _read(self) -> bytes:
        """The file from the offset on, or all of it where it has become shorter than that."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, 2) < self._offset:
                    self._offset = 0
                file.seek(self._offset)
                return file.read()
        except FileNotFoundError:
            return b""


def _rows(data: bytes) -> list[tuple[Row, int]]:
    """Every whole row and the offset of its end.

    Raises:
        ValueError: a line is no row, or its step is not above the one before.
    """
    rows: list[tuple[Row, int]] = []
    start, last = 0, -1
    while (newline := data.find(b"\n", start)) >= 0:
        row = parse_json(data[start:newline])
        step = row.get("step") if isinstance(row, dict) else None
        if type(step) is not int or step <= last:
            raise ValueError(f"got step {step!r} after step {last}")
        start, last = newline + 1, step
        rows.append((row, start))
    return rows


def scalars(row: Mapping[str, Any], reader: RunReader) -> dict[str, float]:
    """A row with its lists taken apart: `grad/layer_norm/<layer>`, or by position where entries have no names.

    NaN stands for a number that was not finite, which JSON has as null.
    """
    series: dict[str, float] = {}
    for key, value in row.items():
        if isinstance(value, list):
            numbers = np.array(value, dtype=np.float64)  # null is NaN
            series |= {f"{key}/{place}": number for place, number in _entries(key, numbers, reader)}
        else:
            series[key] = math.nan if value is None else value
    return series


def probed(step: int, reader: RunReader) -> dict[str, float]:
    """The arrays measured at a step as numbers, `probe/<array>/<layer>/<head>`; none where the step was not probed.

    Raises:
        InputError: the file is corrupt.
    """
    series: dict[str, float] = {}
    for name, values in _arrays(step, reader).items():
        if not reader.array(name).is_heatmap and values.size <= MOST_SERIES:
            series |= {f"probe/{name}/{place}".rstrip("/"): number for place, number in _entries(name, values, reader)}
    return series


def _entries(name: str, values: NDArray[Any], reader: RunReader) -> Iterator[tuple[str, float]]:
    """Each number of an array with its place, `layer 0/head 1`."""
    axes = reader.axis_names(name, values.shape)
    for index in np.ndindex(values.shape):
        yield "/".join(names[i] for names, i in zip(axes, index, strict=True)), float(values[index])


def heatmap_due(step: int, every: int) -> bool:
    """Whether a probed step's heatmap is shown: the first, and those after 1, 2, 4, 8, ... times `every` steps.

    Attention takes its shape early, and a picture of every probed step would be most of what is sent.
    """
    if every == 0 or step % every:
        return False
    times = step // every
    return times & (times - 1) == 0


def heatmaps(step: int, reader: RunReader) -> dict[str, NDArray[np.uint8]]:
    """Each heatmap of a probed step, by title, as one grey picture: layers downwards and heads across.

    White is no weight, black the largest weight of that head.
    """
    shown = [(reader.array(name), values) for name, values in _arrays(step, reader).items() if values.size]
    return {array.title: _picture(values) for array, values in shown if array.is_heatmap}


def _arrays(step: int, reader: RunReader) -> dict[str, NDArray[Any]]:
    """Those of a step; none where it was not probed."""
    path = reader.folder.probe_file(step)
    return load_arrays(path) if path.exists() else {}


def _picture(weights_LHTU: NDArray[Any]) -> NDArray[np.uint8]:
    layers, heads, size, _ = weights_LHTU.shape
    side = size * PIXELS + PIXELS
    picture = np.full((layers * side, heads * side), 128, dtype=np.uint8)
    for layer, head in itertools.product(range(layers), range(heads)):
        weights_TU = np.nan_to_num(weights_LHTU[layer, head].astype(np.float32))
        grey_TU = 255 - np.round(255 * weights_TU / max(float(weights_TU.max()), 1e-12)).astype(np.uint8)
        top, left = layer * side, head * side
        tile = np.kron(grey_TU, np.ones((PIXELS, PIXELS), dtype=np.uint8))
        picture[top : top + size * PIXELS, left : left + size * PIXELS] = tile
    return picture
