"""Writes docs/findings.schema.json: `python tests/schema.py`."""

import json
from pathlib import Path

from gpt.analysis.findings import findings_schema

PUBLISHED = Path(__file__).parents[1] / "docs" / "findings.schema.json"


def text() -> str:
    return json.dumps(findings_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PUBLISHED.write_text(text(), encoding="utf-8")
