"""The table of runs as CSV, for any tool that reads tables."""

import csv
import io
import math

from gpt.analysis.findings import Findings
from gpt.study.plan import label


def runs_csv(findings: Findings) -> str:
    """A row for each planned run: variant, setting, seed, what became of it, and its numbers at full precision.

    A number that a run does not have is empty; a failed run's metric is that of its finite part, if any, not its score.
    """
    study = findings.study
    names = [entry.name for entry in findings.secondary]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([study.factor, *study.settings, "seed", "run", "state", "outcome", study.metric.name, *names])
    for setting in findings.settings:
        crossed = [label(setting.setting[field]) for field in study.settings]
        for variant in setting.variants:
            for i, seed in enumerate(study.seeds):
                numbers = [variant.values[i], *(variant.secondary[name].values[i] for name in names)]
                what = (seed, variant.runs[i], variant.states[i], variant.outcomes[i] or "")
                table.writerow([label(variant.value), *crossed, *what, *map(_number, numbers)])
    return text.getvalue()


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else ""
