"""What a command prints: lines for a person, or JSON for a program; and its one line of complaint."""

import contextlib
import sys
from typing import Any


def show(value: Any, as_json: bool, text: str | None = None) -> None:
    """Print a value: its own text, of a list one after the other, or `text`; with `--json` all that it holds."""
    from gpt.records.files import json_text

    if as_json:
        print(json_text(value))
    elif text is not None:
        print(text)
    else:
        print("\n".join(map(str, value)) if isinstance(value, list) else value)


def say(text: str) -> None:
    """One line on standard error, whatever is quoted in it."""
    with contextlib.suppress(OSError):  # the reader closed it
        print("\\n".join(text.splitlines()), file=sys.stderr)
