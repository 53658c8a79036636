"""What a command finds around it, made harmless: its streams, and what the processes that it starts import."""

import io
import os
import sys
import sysconfig
from pathlib import Path

import gpt


def open_streams() -> None:
    """Give each standard stream that was closed an end that takes everything, as a file opened later would get its
    number; and let every terminal show every text, in escapes where it has no letters for it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free, this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # stays open until the process ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def keep_imports() -> None:
    """Let the processes that this one starts import what it does, see `import_path`."""
    os.environ.update(import_path())


def import_path() -> dict[str, str]:
    """Variables of a process that imports the same package, and nothing from the user's current folder."""
    home, path = str(Path(gpt.__file__).parents[1]), os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if home in (*path, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return {"PYTHONSAFEPATH": "1"}
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join([home, *filter(None, path)])}
