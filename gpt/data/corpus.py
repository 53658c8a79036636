"""The text a model learns from: found, verified, cached."""

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import ClassVar

import platformdirs

from gpt.data.download import UnavailableError, verified
from gpt.data.tokenizer import CharTokenizer
from gpt.errors import InputError
from gpt.records.files import write_atomic
from gpt.registry import Registry, Variant


class Corpus(Variant):
    """A text that has a name; any other `data.source` is the path of a file."""

    sha256: ClassVar[str]
    """of its bytes, hex: no other bytes are ever learned from"""

    @classmethod
    @abstractmethod
    def ways(cls) -> Mapping[str, Callable[[], bytes]]:
        """How to get its bytes, in the order in which it is tried, by what a message calls each.

        One that fails raises an OSError, an HTTPException or an UnavailableError.
        """


CORPORA = Registry("data.source", Corpus)


def default_cache() -> Path:
    """The user's cache folder of this package."""
    return platformdirs.user_cache_path("gpt-study", appauthor=False)


def load_text(source: str, cache: Path) -> tuple[str, str]:
    """The text of a corpus and the sha256 (hex) of its bytes; line ends are kept as they are.

    Args:
        source: the name of a corpus, or the path of a UTF-8 text file.
        cache: folder that fetched texts are kept in.

    Raises:
        InputError: the file is missing, no regular file, unreadable, not UTF-8, empty, or holds a zero byte; or see
            `fetch`.
    """
    path, data = _locate(source, cache)
    return _decoded(path, data), hashlib.sha256(data).hexdigest()


def _decoded(path: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"data.source: {path} must be UTF-8 text, got an invalid byte at offset {error.start}"
        ) from None
    if not text:
        raise InputError(f"data.source: {path} must hold some text, got an empty file")
    if "\0" in text:
        raise InputError(
            f"data.source: {path} must be UTF-8 text, got a zero byte at offset {data.index(0)}, as UTF-16 has them"
        )
    return text


@dataclass(frozen=True)
class FetchedText:
    """A text that can be learned from, as `gpt data` answers."""

    path: str
    sha256: str
    bytes: int
    characters: int
    distinct_characters: int

    def __str__(self) -> str:
        return self.path


def fetch(source: str, cache: Path) -> FetchedText:
    """Where a text lies, and what is in it; one that has a name is brought into the cache unless it is there already.

    Safe when several processes fetch at once: each writes a file of its own and renames it, verified, into place.

    Raises:
        InputError: no way to the text succeeded (every way and why), the cache or the file cannot be used, or a model
            cannot learn from it; see `load_text`.
    """
    path, data = _locate(source, cache)
    text = _decoded(path, data)
    try:
        distinct = CharTokenizer.from_text(text).vocabulary_size
    except InputError as error:
        raise InputError(f"data.source: {path}: {error}") from None
    return FetchedText(str(path), hashlib.sha256(data).hexdigest(), len(data), len(text), distinct)


def _locate(source: str, cache: Path) -> tuple[Path, bytes]:
    if source not in CORPORA:
        return Path(source), _read(source)
    path = cache / f"{source}.txt"
    try:
        return path, verified(path.read_bytes(), CORPORA[source].sha256)
    except FileNotFoundError:
        failures = []
    except (OSError, UnavailableError) as error:
        failures = [f"cached file: {_reason(error)}"]
    data = _obtain(source, path, failures)
    write_atomic(path, data)
    return path, data


def _read(source: str) -> bytes:
    path = Path(source)
    try:
        if path.exists() and not path.is_file():
            kind = "folder" if path.is_dir() else "pipe or device"
            raise InputError(f"data.source: {source!r} must be a file, got a {kind}")
        return path.read_bytes()
    except FileNotFoundError:
        names = " or ".join(CORPORA)
        raise InputError(
            f"data.source: got {source!r}, must be {names} or the path of a UTF-8 text file; no such file"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"data.source: {source!r} cannot be read: {_reason(error)}") from None


def _obtain(name: str, path: Path, failures: list[str]) -> bytes:
    corpus = CORPORA[name]
    for way, get in corpus.ways().items():
        try:
            return verified(get(), corpus.sha256)
        except (OSError, HTTPException, UnavailableError) as error:
            failures.append(f"{way}: {_reason(error)}")
    raise InputError(
        f"data.source: {name} cannot be fetched ({'; '.join(failures)}); "
        f"put the file by hand at {path}, sha256 {corpus.sha256}"
    )


def _reason(error: Exception) -> str:
    """One line; the system's words where the error has them."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(words.split()) or type(error).__name__
