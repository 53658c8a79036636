"""The committed evidence, and the pages that speak of it."""

from pathlib import Path
from typing import Any

from gpt.records.files import read_json

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "results"
LARGE = ("normalization", "positions", "clipping")


def findings(name: str) -> dict[str, Any]:
    found: dict[str, Any] = read_json(RESULTS / name / "findings.json")
    return found


def prose(page: str) -> str:
    """A page of the repository, however its lines are broken."""
    return " ".join((REPOSITORY / page).read_text(encoding="utf-8").split())
