"""The section of a study's page on tuning, and its table of trials as CSV."""

import csv
import io
import math

from gpt.analysis.findings import Findings
from gpt.analysis.trials import CHOSEN_BY
from gpt.analysis.tuning_findings import PointFindings, TunedFindings
from gpt.records.formatting import MISSING, fixed
from gpt.report.pages.markup import plain, table
from gpt.report.text.tuning import budget_text, end_text, sensitivity_text, trained_nowhere, untrained_text
from gpt.study.plan import label


def tuning_section(findings: Findings) -> list[str]:
    """Empty of a study that tunes nothing."""
    if findings.tuning is None:
        return []
    header, rows = tuning_table(findings)
    notes = [TABLE_NOTE, *tuning_notes(findings)]
    lines = ["## Tuning", "", budget_text(findings), "", *table(header, rows)]
    return [*lines, *(line for note in notes for line in ("", f"- {note}"))]


TABLE_NOTE = (
    f"Mean {CHOSEN_BY} over the seeds of the trials, its standard deviation in brackets, an asterisk where it was "
    "chosen; `failed` counts trials that failed to train. Differences at single points are exploratory: the comparison "
    "that was planned is that of the findings."
)


def tuning_table(findings: Findings) -> tuple[list[str], list[list[str]]]:
    """Header, and a row for each point of the grid; a column for each variant in each setting."""
    tuning = findings.tuning
    assert tuning
    several = len(findings.settings) > 1
    header = [", ".join(tuning.grid), *(_named(arm, several) for arm in tuning.arms)]
    return header, [
        [_point_text(point), *(_loss(arm, i, findings.study.places) for arm in tuning.arms)]
        for i, point in enumerate(tuning.arms[0].points)
    ]


def tuning_notes(findings: Findings) -> list[str]:
    """Sensitivity, and what lies at an end of the grid."""
    tuning, several = findings.tuning, len(findings.settings) > 1
    assert tuning
    notes = [sensitivity_text(each, findings.study.places) for each in tuning.sensitivity]
    notes += [end_text(arm) + (f" ({plain(arm.setting)})" if several else "") for arm in tuning.arms if arm.ends]
    notes += [
        untrained_text(arm) + (f" ({plain(arm.setting)})" if several else "")
        for arm in tuning.arms
        if trained_nowhere(arm)
    ]
    return [note for note in notes if note]


def _named(arm: TunedFindings, several: bool) -> str:
    return f"{arm.variant}, {arm.setting}" if several else arm.variant


def _point_text(point: PointFindings) -> str:
    return ", ".join(label(value) for value in point.values.values())


def _loss(arm: TunedFindings, index: int, places: int) -> str:
    point = arm.points[index]
    if not point.mean.n:
        return MISSING
    spread = f" ({fixed(point.mean.sd, places)})" if point.mean.n > 1 else ""
    failed = sum(point.failed)
    text = f"{fixed(point.mean.mean, places)}{spread}" + (f", {failed} failed" if failed else "")
    return f"{text} *" if arm.chosen and point.values == arm.chosen else text


def trials_csv(findings: Findings) -> str:
    """A row for each trial: variant, setting, tuned values, seed, what became of it, and its loss at full precision."""
    study, tuning = findings.study, findings.tuning
    assert tuning
    assert study.tune
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([study.factor, *study.settings, *tuning.grid, "seed", "run", "state", tuning.chosen_by, "chosen"])
    crossed = [
        [label(value) for value in setting.setting.values()] for setting in findings.settings for _ in setting.variants
    ]
    for arm, setting in zip(tuning.arms, crossed, strict=True):
        for point in arm.points:
            values = [label(value) for value in point.values.values()]
            for i, seed in enumerate(study.tune.seeds):
                loss = repr(point.losses[i]) if math.isfinite(point.losses[i]) else ""
                what = (seed, point.runs[i], point.states[i], loss, str(point.values == arm.chosen).lower())
                rows.writerow([arm.variant, *setting, *values, *what])
    return text.getvalue()
