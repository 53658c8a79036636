"""Errors that are the user's to fix, and what is said of others."""

import traceback
from pathlib import Path

RENAMED = {
    "blocks": "settings",
    "certify": "check-gradients",
    "ordered": "rank_invariant",
    "--seeds-per-pack": "--seeds-per-process",
}
"""keys and values of files, and words of the command line, that version 0.1 had, and what they are called now"""


class InputError(Exception):
    """Bad input, said in one line: where (file, key or line), what was got, what must hold. Leads to exit code 2."""


def what_failed(error: BaseException) -> str:
    """`ValueError: no such axis (gradients.py, line 31)`."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    where = "".join(f" ({Path(frame.filename).name}, line {frame.lineno})" for frame in ours[-1:])
    return f"{type(error).__name__}: {error}{where}"
