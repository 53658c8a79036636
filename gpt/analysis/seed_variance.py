"""What a study of seeds found: initialisation seeds crossed with order seeds, the variance between runs decomposed.

Letters of shapes: S initialisation seed, O order seed.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.collect import Results, SettingResults
from gpt.analysis.run_reader import RunReader
from gpt.analysis.spread_findings import Pairs, SecondarySpread, Source, SpreadDuringTraining, SpreadFindings
from gpt.analysis.statistics.variance import (
    Shared,
    component_sds,
    pairs_needed,
    variance_components,
)
from gpt.records.schema import VAL_LOSS

Floats = NDArray[np.float64]

SOURCES: tuple[Source, ...] = ("init", "order", "residual")
SHARED: tuple[Shared, ...] = ("nothing", "init", "order", "both")


def decompose(results: Results, setting: SettingResults, names: Sequence[str]) -> SpreadFindings:
    """The variance between one setting's runs, decomposed.

    With a run missing or failed there is no `split`: a spread over those that did not fail would leave out the
    worst, and a seed that lost one would be corrected by other company than the others.

    Args:
        names: of the secondary scalars.
    """
    runs = [run for group in setting.groups for run in group.runs]
    finished, failed = sum(run.finished for run in runs), sum(run.failed for run in runs)
    if finished < len(runs) or failed:
        return SpreadFindings(planned=len(runs), finished=finished, failed=failed)
    split = variance_components([[run.value(results.metric) for run in row] for row in _rows(setting)])
    effect = results.study.smallest_effect
    pairs = {
        shared: Pairs(**{end: pairs_needed(sd, effect) for end, sd in asdict(spread).items()})
        for shared, spread in split.differences.items()
    }
    return SpreadFindings(
        planned=len(runs),
        finished=finished,
        failed=failed,
        split=split,
        pairs=pairs,
        secondary=_secondary(setting, names),
        during_training=_during_training(setting),
    )


def _rows(setting: SettingResults) -> list[tuple[RunReader, ...]]:
    """Runs of each initialisation seed, over the order seeds."""
    return list(zip(*(group.runs for group in setting.groups), strict=True))


def _secondary(setting: SettingResults, names: Sequence[str]) -> dict[str, SecondarySpread]:
    """The secondary scalars, decomposed without intervals; those that a run lacks are left out."""
    spreads = {}
    for name in names:
        values_SO = np.array([[run.secondary.get(name, math.nan) for run in row] for row in _rows(setting)])
        if np.isfinite(values_SO).all():
            sds = dict(zip(SOURCES, component_sds(values_SO), strict=True))
            spreads[name] = SecondarySpread(float(values_SO.mean()), sds)
    return spreads


def _during_training(setting: SettingResults) -> SpreadDuringTraining:
    """Standard deviations of the validation loss at every evaluation that all runs have."""
    rows = _rows(setting)
    curves = [[dict(zip(*map(np.ndarray.tolist, run.curve(VAL_LOSS)), strict=True)) for run in row] for row in rows]
    steps = [step for step in curves[0][0] if all(math.isfinite(c.get(step, math.nan)) for row in curves for c in row)]
    sds = [component_sds(np.array([[curve[step] for curve in row] for row in curves])) for step in steps]
    return SpreadDuringTraining(steps, *([sd[i] for sd in sds] for i in range(len(SOURCES))))
