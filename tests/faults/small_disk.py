"""Small disks of a chosen size: real file systems in memory, which only root may mount."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from needs import go_without


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[None]:
    """A file system of this size on a folder; a multiple of 4."""
    if os.geteuid() != 0:
        go_without("root", "a file system of its own is mounted for this test")
    mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", place)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True, capture_output=True)


def remount(place: Path, options: str) -> None:
    """Change a mounted small disk: `size=8m`, `ro`."""
    mount("-o", f"remount,{options}", place)


def mount(*words: str | Path) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        go_without("mount", done.stderr.strip())
