"""Whole files that a user names or keeps, read; what keeps one from being read is the user's to fix."""

from pathlib import Path

from gpt.errors import InputError


def read_bytes(path: Path) -> bytes:
    """The whole file.

    Raises:
        InputError: missing or unreadable.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def read_text(path: Path) -> str:
    """The whole file, line ends as they are.

    Raises:
        InputError: missing, unreadable or not UTF-8.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
