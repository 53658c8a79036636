"""Manifests: the size and SHA-256 of files, in JSON that ends with a hash of itself."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gpt.records.files import write_atomic

FORMAT = 1
MANIFEST = "manifest.json"


class CorruptionError(Exception):
    """Bytes that are not those that were written; says which file and why."""


def write_checksummed(content: Mapping[str, Any]) -> bytes:
    """JSON data whose last entry is the hash of every byte before it, with the format's number as its first.

    Args:
        content: not empty, and equal after a way through JSON: no tuples, no keys other than text, no NaN.
    """
    whole = {"format": FORMAT, **content}
    assert json.loads(json.dumps(whole)) == whole, f"must come back equal from JSON, got {content}"
    return _with_hash(json.dumps(whole, indent=1, allow_nan=False)[:-2].encode() + b",\n ")


def read_checksummed(path: Path) -> dict[str, Any]:
    """What `write_checksummed` was given, and format and hash.

    Raises:
        CorruptionError: missing, any byte of it is another, or of another format.
    """
    raw = _bytes(path)
    if raw != _with_hash(raw[: -len(_with_hash(b""))]):
        raise CorruptionError(f"{path}: must end with the hash of the bytes before it")
    content: dict[str, Any] = json.loads(raw)
    if content.get("format") != FORMAT:
        raise CorruptionError(f"{path}: format {content.get('format')}, must be {FORMAT}")
    return content


def entry(data: bytes) -> dict[str, Any]:
    """A file's line in a manifest."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def read_verified(path: Path, expected: Mapping[str, Any]) -> bytes:
    """A file's bytes, which are those of its manifest.

    Args:
        expected: the file's `entry`.

    Raises:
        CorruptionError: they are not.
    """
    data = _bytes(path)
    if len(data) != expected["bytes"]:
        raise CorruptionError(f"{path}: {len(data)} bytes, must be {expected['bytes']}")
    if entry(data) != expected:
        raise CorruptionError(f"{path}: its bytes must have the SHA-256 {expected['sha256']}")
    return data


def files_below(root: Path) -> list[Path]:
    """Every file of a folder and the folders in it, but for the folder's own manifest."""
    return sorted(path for path in root.rglob("*") if path.is_file() and path != root / MANIFEST)


def write_manifest(root: Path, files: Iterable[Path]) -> None:
    """Write down what some files below `root` hold now."""
    lines = {file.relative_to(root).as_posix(): entry(_bytes(file)) for file in sorted(files)}
    write_atomic(root / MANIFEST, write_checksummed({"files": lines}))


def differences(root: Path, files: Iterable[Path]) -> list[str]:
    """What is not as `write_manifest` found it, one line each.

    Args:
        files: those that are there now and should be in the manifest.
    """
    try:
        listed = read_checksummed(root / MANIFEST)["files"]
    except CorruptionError as error:
        return [str(error)]
    wrong = [
        f"{file}: is not in {MANIFEST}" for file in sorted(files) if file.relative_to(root).as_posix() not in listed
    ]
    for name, expected in listed.items():
        try:
            read_verified(root / name, expected)
        except CorruptionError as error:
            wrong.append(str(error))
    return wrong


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorruptionError(f"{path}: cannot be read: {error.strerror}") from None


def _with_hash(head: bytes) -> bytes:
    return head + b'"sha256": "%s"\n}\n' % hashlib.sha256(head).hexdigest().encode()
