"""What a command answers: lines for a person, or JSON for a program."""

import json
from typing import Any


def answer(value: Any, as_json: bool) -> None:
    """Print a dataclass, or a list of them: its own text, or with `--json` all that it holds.

    JSON is written in ASCII, which every terminal shows and every program reads.
    """
    from gpt.records.files import jsonable

    if as_json:
        print(json.dumps(jsonable(value), indent=2, allow_nan=False))
    else:
        print("\n".join(map(str, value)) if isinstance(value, list) else value)
