"""From what the runs of a study recorded to what it trains next."""

import math
from collections.abc import MutableMapping
from pathlib import Path

from gpt.analysis.run_reader import RunReader
from gpt.records.metric import parse_metric
from gpt.records.schema import VAL_LOSS
from gpt.study.folder import run_at
from gpt.study.spec import Study
from gpt.study.tuning import StudyPlan, plan_so_far

CHOSEN_BY = parse_metric(f"{VAL_LOSS}.min")
"""of a trial; it reads validation text alone"""


def selection_loss(run: RunReader) -> float | None:
    """What a trial is chosen by: its lowest validation loss, and where it failed to train never less than the unigram
    baseline's.

    None until it is finished.
    """
    if not run.finished:
        return None
    if not run.failed:
        return run.value(CHOSEN_BY)
    lowest, unigram = run.reduced(CHOSEN_BY), float(run.info["data"]["unigram_loss"])
    return max(unigram, lowest) if math.isfinite(lowest) else unigram


def plan_from_records(study: Study, data_sha256: str, out: Path, cache: MutableMapping[str, RunReader]) -> StudyPlan:
    """Every run that is known by now.

    Args:
        cache: runs that were read, by fingerprint; those that are read here and finished are added.
    """

    def loss(fingerprint: str) -> float | None:
        run = cache.get(fingerprint) or RunReader(run_at(out, fingerprint))
        if run.finished:
            cache[fingerprint] = run
        return selection_loss(run)

    return plan_so_far(study, data_sha256, loss)
