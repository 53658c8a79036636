"""Pieces of Markdown."""

import re
from collections.abc import Sequence

from gpt.analysis.findings import Findings, StudyFindings
from gpt.records.formatting import count
from gpt.study.plan import fields_text


def plain(text: str) -> str:
    """A user's words as Markdown that shows them as they are, on one line."""
    return re.sub(r"([\\`*_<>\[\]|#])", r"\\\1", " ".join(text.split()))


def held(study: StudyFindings) -> list[str]:
    """What all of a study's runs share against its base, if anything."""
    return ["", f"All runs at {plain(fields_text(study.held))}."] if study.held else []


def progress_note(findings: Findings) -> str:
    """` (incomplete: 3 of 6 runs)`; empty for a finished study."""
    runs = findings.runs
    return "" if findings.complete else f" (incomplete: {runs.finished} of {count(runs.planned, 'run')})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table, its first column to the left and the others to the right; `|` in a cell is escaped."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    lines += [[cell.replace("|", "\\|") for cell in cells] for cells in rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def fenced(text: str, language: str = "text") -> list[str]:
    """A code block whose fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence + language, text.rstrip("\n"), fence]
