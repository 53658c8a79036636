"""Null studies: one variant under several names, judged by the shipped code from the values of published runs.

`PYTHONPATH=. python tests/null_studies.py` (ten minutes on one core) writes results/statistics/null_studies.json and
its table in docs/statistics.md. Every variant of a study is the same one with other seeds: its values are drawn from
the published runs, each group's centred and scaled, and some of its runs fail. Any verdict of *different* is false.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from published import REPOSITORY, RESULTS
from simulation import Floats, percent, share

from gpt.analysis.findings import Findings
from gpt.analysis.statistics.contrasts import compare, correct
from gpt.records.manifest import files_below, write_manifest
from gpt.records.metric import parse_metric

PLACE = RESULTS / "statistics" / "null_studies.json"
PAGE = REPOSITORY / "docs" / "statistics.md"
MARKS = "<!-- null studies:begin -->\n", "<!-- null studies:end -->"
METRIC = parse_metric("val/loss.min")
MEAN, SD, UNIGRAM = 2.0, 0.02, 3.347
"""of a variant's runs, and what a failed one counts as; nats per character, as in the published studies"""
PAIRS, CONTRASTS, FAILING = (8, 10), (1, 3, 6), (0.0, 0.1, 0.5)


@dataclasses.dataclass(frozen=True)
class Row:
    pairs: int
    contrasts: int
    failing: float
    """probability that a run fails"""
    studies: int
    false_different: float
    """share of the studies with at least one"""


def recorded() -> Floats:
    """The values of published runs that did not fail, each variant's centred and scaled."""
    found = []
    for path in sorted(RESULTS.glob("*/findings.json")):
        for setting in Findings.read(path).settings:
            for variant in setting.variants:
                values = np.array(variant.scores)
                values = values[np.isfinite(values) & ~np.array(variant.failed)]
                if len(values) > 5:
                    found.append((values - values.mean()) / values.std(ddof=1))
    return np.concatenate(found)


def verdicts(values_VS: Floats, failed_VS: Floats) -> list[str]:
    """What a study says of every variant against the first."""
    seeds = range(values_VS.shape[1])
    others = range(1, len(values_VS))
    contrasts = [
        compare("v0", f"v{v}", "", METRIC, 0.01, len(seeds),
                [(s, values_VS[0, s], values_VS[v, s], bool(failed_VS[0, s]), bool(failed_VS[v, s])) for s in seeds],
                UNIGRAM)
        for v in others
    ]  # fmt: skip
    return [each.verdict for each in correct(contrasts)]


def simulate(pairs: int, contrasts: int, failing: float, studies: int, values: Floats) -> Row:
    rng = np.random.default_rng([pairs, contrasts, int(100 * failing)])
    false = []
    for _ in range(studies):
        shape = (contrasts + 1, pairs)
        found = verdicts(MEAN + SD * rng.choice(values, shape), rng.random(shape) < failing)
        false.append(any(each.startswith("different") for each in found))
    return Row(pairs, contrasts, failing, studies, share(false))


def table(rows: Sequence[Row]) -> str:
    """What docs/statistics.md shows: for 1 / 3 / 6 contrasts."""
    lines = ["| pairs | runs that fail | studies with a false *different* |", "| ---: | ---: | ---: |"]
    for pairs in PAIRS:
        for failing in FAILING:
            of = [percent(row.false_different) for row in rows if (row.pairs, row.failing) == (pairs, failing)]
            lines.append(f"| {pairs} | {failing:.0%} | {' / '.join(of)} |")
    return "\n".join(lines) + "\n"


def update(page: Path, rows: Sequence[Row]) -> str:
    """The page with this table between its marks."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    assert begin, f"{page}: must hold {MARKS[0]}"
    assert end, f"{page}: must hold {MARKS[1]}"
    return f"{before}{begin}{table(rows)}{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--contrasts", type=int, default=2400, help="of each row, shared out over its studies")
    options = parser.parse_args()
    values, rows, began = recorded(), [], time.monotonic()
    for pairs in PAIRS:
        for failing in FAILING:
            rows += [simulate(pairs, size, failing, options.contrasts // size, values) for size in CONTRASTS]
            print(f"{time.monotonic() - began:.0f} s: {rows[-1]}", file=sys.stderr, flush=True)
    PLACE.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    write_manifest(PLACE.parent, files_below(PLACE.parent))
    PAGE.write_text(update(PAGE, rows), encoding="utf-8")


if __name__ == "__main__":
    main()
