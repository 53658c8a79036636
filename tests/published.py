"""The committed evidence, and the pages that speak of it."""

from pathlib import Path

from gpt.analysis.findings import Findings

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "results"
LARGE = ("normalization", "positions", "clipping")


def findings(name: str) -> Findings:
    return Findings.read(RESULTS / name / "findings.json")


def prose(page: str) -> str:
    """A page of the repository, however its lines are broken."""
    return " ".join((REPOSITORY / page).read_text(encoding="utf-8").split())
