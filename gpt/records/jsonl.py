"""Append-only records, one JSON object a line, each with its `step`, in step order."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gpt.errors import InputError
from gpt.read_file import read_bytes
from gpt.records.files import jsonable, make_folder, os_errors_with_path, parse_json, sync_folder, utf8, write_all
from gpt.records.manifest import entry

NOTHING = entry(b"")
"""the mark of a file without rows"""


class JsonlWriter:
    """Appends rows to a file that it first cuts back, so that a resumed run writes no row twice."""

    def __init__(self, path: Path, keep: Mapping[str, Any] = NOTHING):
        """Open or create the file and cut off what follows the bytes to keep: a torn line, rows that will come again.

        Args:
            keep: a `mark` of this file.

        Raises:
            InputError: the bytes that would be kept are not those of the mark, or see
            `gpt.records.files.os_errors_with_path`.
        """
        self.path = path
        make_folder(path.parent)
        with os_errors_with_path(path):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                kept = read_bytes(path)[: keep["bytes"]]
                if entry(kept) != keep:
                    raise InputError(f"{path}: corrupt, its first {keep['bytes']} bytes are not as they were written")
                self._hash, self._size = hashlib.sha256(kept), len(kept)
                self._step = parse_json(kept.splitlines()[-1])["step"] if kept else -1
                os.ftruncate(self._descriptor, self._size)
                os.fsync(self._descriptor)
                sync_folder(path.parent)
            except BaseException:
                os.close(self._descriptor)
                raise

    def offset(self) -> dict[str, Any]:
        """Size and hash of the rows written so far; of use once they are on disk, see `sync`."""
        return {"bytes": self._size, "sha256": self._hash.hexdigest()}

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
        with os_errors_with_path(self.path):
            try:
                write_all(self._descriptor, data)
            except OSError:
                os.ftruncate(self._descriptor, self._size)
                raise
        self._hash.update(data)
        self._size += len(data)
        self._step = last

    def sync(self) -> None:
        """Wait until every row is on disk; due before a checkpoint of the same step is committed."""
        with os_errors_with_path(self.path):
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
        InputError: the file is missing, or names the corrupt line.
    """
    rows = []
    for number, line in enumerate(read_bytes(path).split(b"\n")[:-1], start=1):
        try:
            row = parse_json(line)
        except ValueError as error:
            raise InputError(f"{path}:{number}: corrupt, must be a JSON object: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}:{number}: corrupt, must be a JSON object, got {type(row).__name__}")
        rows.append(row)
    return rows
