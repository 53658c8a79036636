"""Whole files on disk: written so that a kill or a power cut leaves the old bytes or the new ones, never a mixture."""

import dataclasses
import errno
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from gpt.errors import InputError
from gpt.read_file import read_bytes

_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR}


@contextmanager
def os_errors_with_path(path: Path) -> Iterator[None]:
    """Add the file's name to errors of the operating system inside.

    Raises:
        InputError: the place cannot be written to, which the user can mend.
        OSError: anything else, such as a full disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NOT_WRITABLE:
            message = f"{path}: cannot be written ({error.strerror}), must be a place where you may write"
            raise InputError(message) from None
        raise OSError(error.errno, error.strerror, str(path)) from None


def write_atomic(path: Path, data: bytes) -> None:
    """Create or replace a file; missing folders above it are made.

    Raises:
        InputError, OSError: see `os_errors_with_path`; the old file is then untouched.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with os_errors_with_path(path):
            write_new(temporary, data)
            temporary.replace(path)
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_new(path: Path, data: bytes) -> None:
    """Write a file that does not exist yet and wait until its bytes (not yet its name) are on disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """`os.write` until nothing is left; the system may take less than it is given."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def make_folder(folder: Path) -> None:
    """Make a folder and the missing ones above it, their names on disk when this returns."""
    with os_errors_with_path(folder):
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        for place in reversed(missing):
            place.mkdir(exist_ok=True)
            sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove what writers that were killed inside `write_atomic` left; only while nobody writes there."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `jsonable(value)` by `write_atomic`."""
    text = json.dumps(jsonable(value), indent=2, allow_nan=False, ensure_ascii=False)
    write_atomic(path, utf8(text + "\n"))


def utf8(text: str) -> bytes:
    """JSON text as bytes; the undecodable parts of a file's name, which UTF-8 has no bytes for, as JSON escapes."""
    return text.encode("utf-8", "backslashreplace")


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote.

    Raises:
        InputError: missing, unreadable or not JSON.
    """
    try:
        return parse_json(read_bytes(path))
    except ValueError as error:
        raise InputError(f"{path}: corrupt, must be JSON: {error}") from None


def parse_json(data: bytes) -> Any:
    """Strict JSON: UTF-8, no bare NaN or Infinity.

    Raises:
        ValueError: says where and why.
    """
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def json_text(value: Any) -> str:
    """`jsonable(value)` as commands answer it: in ASCII, which every terminal shows and every program reads."""
    return json.dumps(jsonable(value), indent=2, allow_nan=False)


def jsonable(value: Any) -> Any:
    """The same value in JSON's types: dataclasses, mappings, sequences, NumPy scalars and arrays, paths.

    NaN and the infinities become None, for JSON has no name for them.

    Raises:
        TypeError: a type that has no place in a record.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (np.generic, np.ndarray)):
        return jsonable(value.tolist())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {_key(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"a record cannot hold {type(value).__name__}: {value!r}")


def _key(key: Any) -> str:
    if isinstance(key, (str, int, np.integer)) and not isinstance(key, bool):
        return str(key)
    raise TypeError(f"a record's keys must be text or whole numbers, got {key!r}")
