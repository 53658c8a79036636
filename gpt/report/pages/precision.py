"""The section of a study's page on how sure its verdicts are, and how many seeds a further study needs."""

import math

from gpt.analysis.contrast_findings import ContrastFindings
from gpt.analysis.findings import Findings
from gpt.analysis.pilot import failed_note, pairs
from gpt.analysis.statistics.planning import PairsNeeded
from gpt.records.formatting import count, fixed, interval, p_run, short, signed
from gpt.report.pages.markup import table
from gpt.report.pages.tables import named
from gpt.report.text.precision import interval_note, precision_notes


def precision_section(findings: Findings) -> list[str]:
    """Empty of a study without contrasts, and of findings that were made before these numbers were."""
    contrasts = [each for each in findings.contrasts if each.simultaneous]
    if not contrasts:
        return []
    together = f"95 % for all {len(contrasts)}" if len(contrasts) > 1 else "95 %, by sign flips"
    header = ("comparison", "95 % interval", together, "90 % interval", "equal: corrected p", "skewness", "Hall's p")
    lines = ["## How sure is that?", "", *table(header, [_row(each) for each in contrasts]), ""]
    lines += [f"- {note}" for note in [interval_note(together, len(contrasts)), *precision_notes(findings)]]
    planned = [each for each in contrasts if each.planning]
    if planned:
        lines += ["", "### Pairs that a further study needs", "", *_planning(planned)]
    return lines


def _row(contrast: ContrastFindings) -> list[str]:
    together, equal, shape = contrast.simultaneous, contrast.equivalence, contrast.shape
    assert together
    assert equal
    assert shape
    places, paired = contrast.places, contrast.paired
    return [
        named(contrast), interval(paired.low, paired.high, places), interval(together.low, together.high, places),
        interval(equal.low, equal.high, places), p_run(equal.p_adjusted), signed(shape.skewness, 2),
        p_run(shape.p_hall),
    ]  # fmt: skip


def _planning(contrasts: list[ContrastFindings]) -> list[str]:
    header = ("comparison", "sd of a difference", "true difference", "80 % power", "90 % power")
    rows = []
    for each in contrasts:
        assert each.planning
        sd, places = each.planning.sd, each.places
        size = f"{fixed(sd.sd, places)} [{fixed(sd.low, places)}, {fixed(sd.high, places)}]"
        for words, needed in (("smallest", each.planning.smallest_effect), ("observed", each.planning.observed_effect)):
            if needed:
                effect = f"{words}, {short(needed[0].effect)}"
                rows.append([named(each), size, effect, *map(pairs_words, needed)])
    level = contrasts[0].planning.alpha if contrasts[0].planning else math.nan
    return [
        *table(header, rows),
        "",
        f"Paired t test at {level:.3g}, the first step of Holm's correction over "
        f"{count(max(each.family for each in contrasts), 'contrast')}; never fewer pairs than sign flips need. In "
        f"brackets with the sd at the ends of its 95 % interval. An observed difference is uncertain itself.",
        *(f"\n{named(each)}: {note}." for each in contrasts if (note := failed_note(each))),
    ]


def pairs_words(needed: PairsNeeded) -> str:
    """`12 [7, 40]`."""
    return f"{pairs(needed.pairs)} [{pairs(needed.low)}, {pairs(needed.high)}]"
