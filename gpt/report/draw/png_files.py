"""The PNG files of a report: drawn in processes of their own, and only where the figure or how it is drawn changed."""

import hashlib
import multiprocessing
import os
import signal
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import chdir, suppress
from functools import cache
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from gpt.errors import what_failed
from gpt.records.files import make_folder, write_atomic
from gpt.report.draw.encoding import sha256
from gpt.report.figures.spec import Figure

DRAWN_BY = ("png.py", "../figures/spec.py")
HEAD = 256
"""bytes of a file within which its key is"""
PROCESSES = len(os.sched_getaffinity(0))


def write_files(folders: Mapping[Path, Mapping[str, Figure]]) -> dict[Path, str]:
    """Draw what is new or changed, and take away what an earlier report had and this one has not.

    Args:
        folders: of each the figures, by name of the file.

    Returns:
        The files that could not be drawn, and why; what they showed before is gone.
    """
    files: dict[Path, Future[str]] = {}
    for folder, figures in folders.items():
        make_folder(folder)
        for name, figure in figures.items():
            key, path = key_of(figure), folder / name
            if not (path.exists() and key.encode() in path.read_bytes()[:HEAD]):
                files[path] = _threads().submit(_ask, path.absolute(), figure, key)
        for old in {path.name for path in folder.glob("*.png")} - figures.keys():
            (folder / old).unlink(missing_ok=True)  # another command may report at the same time
    try:
        failed = {path: why for path, file in files.items() if (why := file.result())}
    finally:
        for file in files.values():
            file.cancel()  # where the wait was interrupted
    for path in failed:
        path.unlink(missing_ok=True)
    return failed


def key_of(figure: Figure) -> str:
    """A hash of the figure and of what draws it."""
    return hashlib.sha256(f"{_drawn_by()}{sha256(figure)}".encode()).hexdigest()


@cache
def _drawn_by() -> str:
    here = Path(__file__).parent
    return metadata.version("matplotlib") + "".join((here / name).read_text(encoding="utf-8") for name in DRAWN_BY)


@cache
def _threads() -> ThreadPoolExecutor:
    """One for each process that draws, to wait for it."""
    _free()  # made here, for two threads would make two
    return ThreadPoolExecutor(PROCESSES)


@cache
def _free() -> "SimpleQueue[Connection]":
    """Processes with nothing to draw, for the life of this one."""
    free: SimpleQueue[Connection] = SimpleQueue()
    for _ in range(PROCESSES):
        free.put(_process())
    return free


def _process() -> Connection:
    """A new process that draws. It ends with this connection, and so with the process that reports, however that ends;
    a pool would leave semaphores behind.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=_draw, args=(theirs,), daemon=True).start()
    theirs.close()
    return ours


def _ask(path: Path, figure: Figure, key: str) -> str:
    """Have one figure drawn; gives what went wrong, or nothing."""
    process = _free().get()
    try:
        process.send((path, figure, key))
        return str(process.recv())
    except (EOFError, OSError) as error:  # the process was killed
        process = _process()
        return what_failed(error)
    finally:
        _free().put(process)


def _draw(connection: Connection) -> None:
    """Draw what is asked for, until nobody asks any more; none of a user's settings of matplotlib is read."""
    os.environ["MATPLOTLIBRC"] = os.devnull
    os.environ.pop("MPLBACKEND", None)  # matplotlib does not import where there is no such backend
    with chdir(os.sep):  # a matplotlibrc of the current folder comes before the one that is named
        import matplotlib  # noqa: F401  # reads its settings here, once
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that reports says what was interrupted
    with suppress(EOFError, OSError):
        while True:
            connection.send(_write(*connection.recv()))


def _write(path: Path, figure: Figure, key: str) -> str:
    try:
        from gpt.report.draw.png import png

        write_atomic(path, png(figure, key))
    except Exception as error:  # one figure's fault must not cost the others
        return what_failed(error)
    return ""
