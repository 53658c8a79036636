"""Changing a file that a test was given."""

from pathlib import Path


def edited(path: Path, old: str, new: str) -> Path:
    """The file with every `old`, of which there must be one, made `new`."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path
