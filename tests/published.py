"""The committed evidence, and the README that speaks of it."""

from pathlib import Path
from typing import Any

from gpt.records.files import read_json

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "results"
LARGE = ("normalization", "positions", "clipping")


def findings(name: str) -> dict[str, Any]:
    found: dict[str, Any] = read_json(RESULTS / name / "findings.json")
    return found


def prose() -> str:
    """The README, however its lines are broken."""
    return " ".join((REPOSITORY / "README.md").read_text(encoding="utf-8").split())
