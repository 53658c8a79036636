"""What made the runs: layouts, packages, code."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from gpt.analysis.control import differing
from gpt.analysis.findings import LayoutFindings
from gpt.analysis.run_reader import RunReader
from gpt.fields import canonical
from gpt.records.formatting import listed
from gpt.study.plan import label


def layouts_of(runs: Sequence[RunReader]) -> list[LayoutFindings]:
    """How the runs were computed and how many in each way; a resumed run may count in several."""
    counts = Counter(
        canonical({key: value for key, value in layout.items() if key != "from_step"})
        for run in runs
        for layout in run.info.get("layouts", [])
    )
    return [LayoutFindings(**json.loads(layout), runs=count) for layout, count in sorted(counts.items())]


def stack_of(runs: Sequence[RunReader]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """What the runs' stacks and code share, and every value of what they do not.

    Runs have parts of the code in common, each its own version; commits are named but may differ.
    """
    stacks = [run.info["stack"] for run in runs]
    differences = {key: sorted({label(s.get(key)) for s in stacks}) for key in differing(stacks)}
    common = {key: value for key, value in stacks[0].items() if key not in differences} if stacks else {}
    versions: dict[str, set[str]] = {}
    for part, version in [part for run in runs for part in run.info["code"].items()]:
        versions.setdefault(part, set()).add(version)
    differences |= {f"code of {part}": sorted(each) for part, each in versions.items() if len(each) > 1}
    if runs and all(len(each) == 1 for each in versions.values()):
        whole = canonical({part: list(each) for part, each in versions.items()})
        common["code"] = hashlib.sha256(whole.encode()).hexdigest()[:12]
    common |= {key: value for key in ("gpt", "commit") if (value := listed(_sources(runs, key)))}
    return common, dict(sorted(differences.items()))


def _sources(runs: Sequence[RunReader], key: str) -> list[str]:
    """Every release, or commit, that runs were made with."""
    sources = [run.info["source"] for run in runs]
    changed = " with changes"
    return sorted({s[key] + (changed if key == "commit" and s["dirty"] else "") for s in sources if s[key] is not None})
