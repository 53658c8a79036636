"""Manifests: any other byte, in a file or in the manifest itself, is found and named."""

import hashlib
from pathlib import Path

import pytest

from gpt.records.manifest import (
    MANIFEST,
    CorruptionError,
    differences,
    entry,
    files_below,
    read_checksummed,
    read_verified,
    write_checksummed,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, one in a folder of its own, and their manifest."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "rows.jsonl").write_bytes(b'{"step":0}\n')
    (tmp_path / "inner" / "empty").write_bytes(b"")
    write_manifest(tmp_path, files_below(tmp_path))
    return tmp_path


def test_what_was_sealed_comes_back(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(write_checksummed({"step": 3, "meta": {"name": "é", "list": [1, None]}}))
    content = read_checksummed(tmp_path / MANIFEST)
    assert (content["format"], content["step"], content["meta"]) == (1, 3, {"name": "é", "list": [1, None]})


def test_a_seal_is_the_hash_of_all_bytes_before_it() -> None:
    head, _, tail = write_checksummed({"step": 3}).rpartition(b'"sha256": "')
    assert tail == hashlib.sha256(head).hexdigest().encode() + b'"\n}\n'


def test_an_entry_is_size_and_sha256() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # FIPS 180-2's empty message
    assert entry(b"") == {"bytes": 0, "sha256": empty}


def test_an_untouched_folder_differs_in_nothing(folder: Path) -> None:
    assert differences(folder, files_below(folder)) == []
    assert list(read_checksummed(folder / MANIFEST)["files"]) == ["inner/empty", "rows.jsonl"]


@pytest.mark.parametrize("file", ["rows.jsonl", MANIFEST])
def test_every_flipped_bit_is_named(folder: Path, file: str) -> None:
    whole = (folder / file).read_bytes()
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        (folder / file).write_bytes(flipped)
        found = differences(folder, files_below(folder))
        assert len(found) == 1, bit
        assert found[0].startswith(f"{folder / file}: "), bit


def test_files_that_came_or_went_are_named(folder: Path) -> None:
    (folder / "new").write_bytes(b"")
    (folder / "rows.jsonl").unlink()
    assert differences(folder, files_below(folder)) == [
        f"{folder / 'new'}: is not in {MANIFEST}",
        f"{folder / 'rows.jsonl'}: cannot be read: No such file or directory",
    ]


def test_another_format_is_refused(tmp_path: Path) -> None:
    head = write_checksummed({"step": 3}).replace(b'"format": 1', b'"format": 2').rpartition(b'"sha256"')[0]
    (tmp_path / MANIFEST).write_bytes(head + b'"sha256": "%s"\n}\n' % hashlib.sha256(head).hexdigest().encode())
    with pytest.raises(CorruptionError, match="format 2, must be 1"):
        read_checksummed(tmp_path / MANIFEST)


def test_a_shorter_file_and_another_of_the_same_size_are_told_apart(folder: Path) -> None:
    expected = entry(b"four")
    (folder / "file").write_bytes(b"for")
    with pytest.raises(CorruptionError, match="file: 3 bytes, must be 4"):
        read_verified(folder / "file", expected)
    (folder / "file").write_bytes(b"Four")
    with pytest.raises(CorruptionError, match="file: its bytes must have the SHA-256"):
        read_verified(folder / "file", expected)


def test_what_json_would_change_is_refused() -> None:
    with pytest.raises(AssertionError, match="must come back equal"):
        write_checksummed({"pair": (1, 2)})
