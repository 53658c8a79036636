"""What a command answers: lines for a person, or JSON for a program; and its one line of complaint."""

import contextlib
import json
import sys
from typing import Any


def answer(value: Any, as_json: bool, text: str | None = None) -> None:
    """Print a value: its own text, of a list one after the other, or `text`; with `--json` all that it holds.

    JSON is written in ASCII, which every terminal shows and every program reads.
    """
    from gpt.records.files import jsonable

    if as_json:
        print(json.dumps(jsonable(value), indent=2, allow_nan=False))
    elif text is not None:
        print(text)
    else:
        print("\n".join(map(str, value)) if isinstance(value, list) else value)


def say(text: str) -> None:
    """One line on standard error, whatever is quoted in it."""
    with contextlib.suppress(OSError):  # the reader closed it
        print("\\n".join(text.splitlines()), file=sys.stderr)
