"""Append-only records, one JSON object a line, each with its `step`, in step order."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gpt.errors import InputError
from gpt.records.files import jsonable, make_folder, naming, parse_json, read_bytes, sync_folder, utf8, write_all


class JsonlWriter:
    """Appends rows to a file that it first cuts back to a step, so that a resumed run writes no row twice."""

    def __init__(self, path: Path, *, keep_through: int):
        """Open or create the file and cut off a torn last line and every row of a step after `keep_through`.

        Args:
            keep_through: the step that the run resumes from; -1 keeps nothing.

        Raises:
            InputError: a row that would be kept is damaged or out of order, or see `gpt.records.files.naming`.
        """
        self.path = path
        make_folder(path.parent)
        with naming(path):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                self._size, self._step = _kept(path, read_bytes(path), keep_through)
                os.ftruncate(self._descriptor, self._size)
                os.fsync(self._descriptor)
                sync_folder(path.parent)
            except BaseException:
                os.close(self._descriptor)
                raise

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the rows in one go; non-finite numbers become null.

        Raises:
            OSError: the disk is full, for instance; none of the rows is then in the file.
        """
        text, last = "", self._step
        for row in rows:
            assert row["step"] >= last, f"{self.path}: step {row['step']} after step {last}"
            last = row["step"]
            text += json.dumps(jsonable(row), allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n"
        data = utf8(text)
        with naming(self.path):
            try:
                write_all(self._descriptor, data)
            except OSError:
                os.ftruncate(self._descriptor, self._size)
                raise
        self._size += len(data)
        self._step = last

    def sync(self) -> None:
        """Wait until every row is on disk; due before a checkpoint of the same step is committed."""
        with naming(self.path):
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Every row; a torn last line, which a killed writer leaves, is passed over.

    Raises:
        InputError: the file is missing, or names the damaged line.
    """
    return [row for row, _, _ in _rows(path, read_bytes(path))]


def _rows(path: Path, data: bytes) -> Iterator[tuple[dict[str, Any], str, int]]:
    """Every row with its `file:line` and the offset of its end."""
    start = 0
    number = 0
    while (newline := data.find(b"\n", start)) >= 0:
        number += 1
        where = f"{path}:{number}"
        try:
            row = parse_json(data[start:newline])
        except ValueError as error:
            raise InputError(f"{where}: damaged, must be a JSON object: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"{where}: damaged, must be a JSON object, got {type(row).__name__}")
        start = newline + 1
        yield row, where, start


def _kept(path: Path, data: bytes, keep_through: int) -> tuple[int, int]:
    """The bytes that hold the rows up to a step, and the last of those rows' steps."""
    size, last = 0, -1
    for row, where, end in _rows(path, data):
        step = row.get("step")
        if type(step) is not int or step < last:
            raise InputError(f"{where}: got step {step!r} after step {last}, rows must be in step order")
        if step > keep_through:
            break
        size, last = end, step
    return size, last
