"""How often the verdicts are wrong, and how often they find what is there: simulated through the functions that decide.

`PYTHONPATH=. python tests/simulation.py` (ten minutes on one core) writes results/statistics/simulation.json and the
tables of docs/statistics.md. Differences are drawn from one distribution of mean 0 and sd 1, and shifted.
"""

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.findings import Findings
from gpt.analysis.statistics.contrasts import ALPHA
from gpt.analysis.statistics.means import mean_interval
from gpt.analysis.statistics.paired import PairedContrast, equivalence_p, paired_contrast
from gpt.analysis.statistics.sequential import sequential_p
from gpt.analysis.statistics.sign_flips import fewest_pairs, sign_flip_p
from gpt.analysis.statistics.simultaneous import sign_flip_interval
from gpt.analysis.statistics.verdict import holm, verdict
from gpt.records.manifest import files_below, write_manifest

Floats = NDArray[np.float64]

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "results"
PLACE = RESULTS / "statistics" / "simulation.json"
PAGE = REPOSITORY / "docs" / "statistics.md"
PAIRS = (5, 8, 10, 20)
FAMILIES = (1, 3, 6)
LOOKS = (5, 10, 20)
EFFECT = 1.0
"""smallest effect, and the true difference where there is one, in standard deviations"""
COVERED = 6
"""contrasts whose intervals are to cover all differences together"""


def recorded() -> Floats:
    """Differences of the published studies in which no run failed, each contrast's centred and scaled."""
    found = []
    for path in sorted(RESULTS.glob("*/findings.json")):
        for contrast in Findings.read(path).contrasts:
            values = np.array(contrast.paired.differences, dtype=np.float64)
            if not contrast.among_survivors and len(values) > 5:
                found.append((values - values.mean()) / values.std())
    return np.concatenate(found)


def draws() -> dict[str, Callable[[np.random.Generator, tuple[int, int]], Floats]]:
    """By name, draws of mean 0 and sd 1."""
    of_studies = recorded()
    root_e = math.exp(0.5)
    return {
        "normal": lambda rng, shape: rng.normal(size=shape),
        "t with 3 degrees of freedom": lambda rng, shape: rng.standard_t(3, shape) / math.sqrt(3),
        "lognormal": lambda rng, shape: (np.exp(rng.normal(size=shape)) - root_e) / math.sqrt(math.e * (math.e - 1)),
        "recorded": lambda rng, shape: rng.choice(of_studies, shape),
    }


@dataclasses.dataclass(frozen=True)
class Sample:
    """One contrast: what its verdict rests on at n pairs, or at each look."""

    p: tuple[float, ...]
    equal: tuple[float, ...]
    pairs: tuple[int, ...]

    @property
    def at_the_end(self) -> "Sample":
        """What it would be without the looks before the last."""
        return Sample(self.p[-1:], self.equal[-1:], self.pairs[-1:])


def sample(differences: Floats, looks: Sequence[int]) -> Sample:
    p, equal = [], []
    for n in looks:
        values = differences[:n]
        p.append(sign_flip_p(values))
        found = equivalence_p(float(values.mean()), float(values.std(ddof=1)), n, EFFECT)
        equal.append(found if n >= fewest_pairs(ALPHA) or len(looks) == 1 else math.nan)
    return Sample(tuple(p), tuple(equal), tuple(looks))


def judged(family: Sequence[Sample], made: int, template: PairedContrast) -> list[str]:
    """The verdicts of a family after so many of its looks."""
    looks = family[0].pairs
    if len(looks) == 1:
        p, equal = [each.p[0] for each in family], [each.equal[0] for each in family]
    else:
        p = [sequential_p(each.p[:made], looks) for each in family]
        equal = [sequential_p(each.equal[:made], looks, sides=1) for each in family]
    contrast = dataclasses.replace(template, n=looks[made - 1])
    return [verdict(contrast, a, b, len(family), ALPHA) for a, b in zip(holm(p), holm(equal), strict=True)]


def with_looks(family: Sequence[Sample], template: PairedContrast) -> tuple[list[str], int]:
    """The verdicts at the look that ends the study, and its number of pairs."""
    looks = family[0].pairs
    for made in range(1, len(looks) + 1):
        found = judged(family, made, template)
        if "inconclusive" not in found:
            break
    return found, looks[made - 1]


def families(samples: Sequence[Sample], size: int) -> list[Sequence[Sample]]:
    return [samples[i : i + size] for i in range(0, len(samples) - size + 1, size)]


def share(claims: Sequence[bool]) -> float:
    return round(float(np.mean(claims)), 4)


def different(verdicts: Sequence[str]) -> list[bool]:
    return [each.startswith("different") for each in verdicts]


def equal(verdicts: Sequence[str]) -> list[bool]:
    return [each in ("equivalent", "different but smaller than matters") for each in verdicts]


def simulate(name: str, draw: Callable[..., Floats], contrasts: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """One distribution: a row for each number of pairs, and one for the looks."""
    template = paired_contrast([0.0, 0.0], [0.1, -0.1], EFFECT)
    values = draw(rng, (contrasts, max(PAIRS)))
    rows: list[dict[str, Any]] = []
    null: list[Sample] = []
    there: list[Sample] = []
    for looks in [*((n,) for n in PAIRS if n < LOOKS[-1]), LOOKS, LOOKS[-1:]]:
        kept = values if looks[-1] < max(PAIRS) else values[: contrasts // 4]
        if looks == LOOKS[-1:]:  # the last look has its p already, and twenty pairs have half a million flips
            null, there = [each.at_the_end for each in null], [each.at_the_end for each in there]
        else:
            null = [sample(each, looks) for each in kept]
            there = [sample(each + EFFECT, looks) for each in kept]
        row: dict[str, Any] = {"differences": name, "looks": list(looks), "contrasts": len(kept)}
        for size in FAMILIES:
            of_null = [with_looks(family, template) for family in families(null, size)]
            of_there = [with_looks(family, template) for family in families(there, size)]
            row[str(size)] = {
                "false different": share([any(different(found)) for found, _ in of_null]),
                "false equivalent": share([any(equal(found)) for found, _ in of_there]),
                "power": share([each for found, _ in of_there for each in different(found)]),
                "equal found": share([each for found, _ in of_null for each in equal(found)]),
                "pairs without a difference": round(float(np.mean([pairs for _, pairs in of_null])), 2),
                "pairs with one": round(float(np.mean([pairs for _, pairs in of_there])), 2),
            }
        if len(looks) == 1:
            row |= coverage(kept[:, : looks[0]])
        rows.append(row)
        rows.sort(key=lambda row: (len(row["looks"]), row["looks"]))
        print(f"{name}, {looks}: {row['1']}", file=sys.stderr, flush=True)
    return rows


def coverage(values: Floats) -> dict[str, float]:
    """How often the plain interval covers its mean, and how often those of a family cover all of theirs."""
    plain = [(found := mean_interval(each)).low <= 0 <= found.high for each in values]
    few = values[: min(len(values), 3000 if values.shape[1] <= 10 else 300)]
    together = [(found := sign_flip_interval(each, ALPHA / COVERED)).low <= 0 <= found.high for each in few]
    return {
        "t interval covers": share(plain),
        "all intervals cover": share([all(together[i : i + COVERED]) for i in range(0, len(together), COVERED)]),
    }


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """What docs/statistics.md shows of it."""
    fixed = [row for row in rows if len(row["looks"]) == 1]
    lines = [
        "| differences | pairs | any false *different* | any false *equivalent* | power | t interval covers | "
        f"{COVERED} simultaneous intervals cover |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]

    def of(row: dict[str, Any], key: str) -> str:
        return " / ".join(percent(row[str(size)][key]) for size in FAMILIES)

    for row in fixed:
        cells = [row["differences"], str(row["looks"][0]), of(row, "false different"), of(row, "false equivalent")]
        cells += [of(row, "power"), percent(row["t interval covers"]), percent(row["all intervals cover"])]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"With `looks: {list(LOOKS)}`:",
        "",
        "| differences | any false *different* | any false *equivalent* | power | pairs run, no difference | "
        "pairs run, a difference |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        if row not in fixed:
            cells = [of(row, key) for key in ("false different", "false equivalent", "power")]
            cells += [" / ".join(f"{row[str(size)][key]:.1f}" for size in FAMILIES)
                      for key in ("pairs without a difference", "pairs with one")]  # fmt: skip
            lines.append(f"| {' | '.join([row['differences'], *cells])} |")
    return "\n".join(lines)


def update(page: Path, rows: Sequence[dict[str, Any]]) -> str:
    """The page with these tables between its marks."""
    before, begin, rest = page.read_text(encoding="utf-8").partition("<!-- simulation:begin -->\n")
    _, end, after = rest.partition("<!-- simulation:end -->")
    assert begin, f"{page}: must hold marks for the simulation's tables"
    assert end, f"{page}: must hold marks for the simulation's tables"
    return f"{before}{begin}{tables(rows)}\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--contrasts", type=int, default=6000, help="of each distribution; a quarter at 20 pairs")
    parser.add_argument("--out", type=Path, default=PLACE)
    options = parser.parse_args()
    began = time.monotonic()
    rows = []
    for number, (name, draw) in enumerate(draws().items()):
        rows += simulate(name, draw, options.contrasts, np.random.default_rng(number))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    if options.out == PLACE:
        write_manifest(PLACE.parent, files_below(PLACE.parent))
        PAGE.write_text(update(PAGE, rows), encoding="utf-8")


if __name__ == "__main__":
    main()
