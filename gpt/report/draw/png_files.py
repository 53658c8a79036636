"""The PNG files of a report: drawn in processes of their own, and only where the figure or how it is drawn changed."""

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cache
from importlib import metadata
from pathlib import Path

from gpt.records.files import make_folder, write_atomic
from gpt.report.draw.encoding import sha256
from gpt.report.figures.catalogue import what_failed
from gpt.report.figures.spec import Figure

DRAWN_BY = ("png.py", "../figures/spec.py")
HEAD = 256
"""bytes of a file within which its key is"""


class PngFiles:
    """Files on their way; begin as many folders as there are, then wait once."""

    def __init__(self) -> None:
        self._files: dict[Path, Future[str]] = {}

    def begin(self, folder: Path, figures: Mapping[str, Figure]) -> None:
        """Draw what is new or changed, and take away what an earlier report had and this one has not.

        Args:
            figures: by name of the file.
        """
        make_folder(folder)
        for name, figure in figures.items():
            key, path = key_of(figure), folder / name
            if not (path.exists() and key.encode() in path.read_bytes()[:HEAD]):
                self._files[path] = _pool().submit(_write, path, figure, key)
        for old in {path.name for path in folder.glob("*.png")} - figures.keys():
            (folder / old).unlink(missing_ok=True)  # another command may report at the same time

    def wait(self) -> dict[Path, str]:
        """The files that could not be drawn, and why; what they showed before is gone."""
        try:
            ends = {path: _why(file) for path, file in self._files.items()}
        finally:
            for file in self._files.values():
                file.cancel()  # where the wait was interrupted
        failed = {path: why for path, why in ends.items() if why}
        for path in failed:
            path.unlink(missing_ok=True)
        self._files.clear()
        return failed


def key_of(figure: Figure) -> str:
    """A hash of the figure and of what draws it."""
    return hashlib.sha256(f"{_drawn_by()}{sha256(figure)}".encode()).hexdigest()


@cache
def _drawn_by() -> str:
    here = Path(__file__).parent
    return metadata.version("matplotlib") + "".join((here / name).read_text(encoding="utf-8") for name in DRAWN_BY)


@cache
def _pool() -> ProcessPoolExecutor:
    """As many processes as cores, for the life of this one."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(len(os.sched_getaffinity(0)), context, initializer=_leave_with_parent)


def _leave_with_parent() -> None:
    """End when the process that reports does, however that ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that reports says what was interrupted
    threading.Thread(target=watch, daemon=True).start()


def _write(path: Path, figure: Figure, key: str) -> str:
    """Draw one figure; gives what went wrong, or nothing."""
    from gpt.report.draw.png import png

    try:
        write_atomic(path, png(figure, key))
    except Exception as error:  # one figure's fault must not cost the others
        return what_failed(error)
    return ""


def _why(file: Future[str]) -> str:
    error = file.exception()
    return what_failed(error) if error else file.result()
