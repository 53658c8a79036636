"""The gradient noise scale: the batch, in sequences, whose mean gradient holds as much noise as signal.

B_simple = tr(Sigma) / |G|^2, where G is the true gradient and Sigma the covariance of one sequence's gradient about it.
Single steps give unbiased but very noisy estimates of either term, so each term is averaged over a stretch of steps
before the one is divided by the other: a mean of ratios would be biased, and infinite as soon as one denominator is 0.

Intervals are made on the inverse, |G|^2 / tr(Sigma). An estimate of |G|^2 may fall below 0 by chance where the batch
is far below the noise scale; the inverse is finite and nearly normal even there, so every run counts, whereas a
logarithm would force those runs out and leave the low ones. Turned back, an inverse that may be 0 is a noise scale
without an upper bound, and one that is not above 0 is a noise scale that is not determined.

Source: McCandlish et al. (2018), An Empirical Model of Large-Batch Training, arXiv 1812.06162, section 2, appendix A.1.

Shapes: N recorded step, K segment of steps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.collect import Group
from gpt.analysis.run_reader import RunReader
from gpt.analysis.statistics.means import MeanInterval, mean_interval
from gpt.analysis.variant_findings import NoiseScale, NoiseScales, NoiseStretch, RunNoise
from gpt.errors import InputError
from gpt.records.schema import GRAD_NORM, MICRO_BATCH_GRAD_NORM

Floats = NDArray[np.float64]

STRETCHES = {
    "first quarter": (0, 1),
    "second quarter": (1, 2),
    "third quarter": (2, 3),
    "last quarter": (3, 4),
    "all steps": (0, 4),
}
"""stretches of a run, as quarters of its steps: after which one it begins, with which it ends"""
SEGMENTS = 20
"""segments of consecutive steps that the jackknife leaves out in turn"""
SHORTEST_SEGMENT = 5
"""steps; a shorter stretch has fewer segments, and with fewer than two it has no interval"""
ROUNDING = 1e-2
"""how far the squared norm of a mean may exceed the mean of the squared norms, which exact numbers rule out"""


@dataclass(frozen=True)
class StepEstimates:
    """Unbiased estimates from one run's single steps, in step order; NaN where a norm was not finite."""

    steps: NDArray[np.int64]
    """(N,)"""
    parts: NDArray[np.int64]
    """(N,) equal parts that the step's batch was cut into"""
    grad_square: Floats
    """(N,) |G|^2, squared loss per weight; may be below 0 by chance"""
    trace: Floats
    """(N,) tr(Sigma) of one sequence's gradient, squared loss per weight"""
    batch_size: int
    """sequences in each step"""
    run_steps: int
    """steps that the whole run has"""


def per_step(batch_size: int, norm: Floats, parts: NDArray[np.int64], part_square: Floats) -> tuple[Floats, Floats]:
    """Unbiased estimates of |G|^2 and tr(Sigma) from the norms of mean gradients over a batch and over its parts.

    The mean of B independent gradients has the expected squared norm |G|^2 + tr(Sigma) / B. Two batch sizes, the whole
    one and that of a part, give two equations, and these are their solution; that the parts make up the batch does no
    harm, for expectations add up all the same.

    Args:
        batch_size: sequences in the whole batch.
        norm: (N,) norm of the whole batch's mean gradient, loss per weight.
        parts: (N,) number of equal parts, at least 2.
        part_square: (N,) mean over the parts of the squared norms of their mean gradients.

    Returns:
        (N,) |G|^2 and (N,) tr(Sigma), both in squared loss per weight.

    Source: McCandlish et al. (2018), appendix A.1.
    """
    big, small = float(batch_size), batch_size / parts
    grad_square = (big * norm**2 - small * part_square) / (big - small)
    return grad_square, (part_square - norm**2) / (1 / small - 1 / big)


def step_estimates(run: RunReader) -> StepEstimates | None:
    """The estimates from every step of a run; None where it was not to record the parts' norms, or took no step.

    Raises:
        InputError: the norms are missing although the run was to record them, or they cannot be those of a batch and
            of its equal parts.
    """
    parts, (steps, norm), train = run.micro_batch_norms, run.curve(GRAD_NORM), run.info["config"]["train"]
    where, batch_size = f"{run.folder.metrics}: corrupt", int(train["batch_size"])
    if parts is None and not (len(steps) and run.info["config"]["probes"].get("noise_scale", False)):
        return None
    if parts is None or not np.array_equal(parts.steps, steps):
        got = 0 if parts is None else len(parts.steps)
        raise InputError(
            f"{where}, {got} of {len(steps)} steps with {GRAD_NORM} hold {MICRO_BATCH_GRAD_NORM}; with "
            f"probes.noise_scale all of them must"
        )
    bad = (parts.counts < 2) | (batch_size % np.maximum(parts.counts, 1) != 0)
    if bad.any():
        at = int(np.argmax(bad))
        raise InputError(
            f"{where}, {MICRO_BATCH_GRAD_NORM} has {parts.counts[at]} parts at step {steps[at]}; a batch of "
            f"{batch_size} sequences must be cut into at least 2 equal parts"
        )
    starts = np.cumsum(parts.counts) - parts.counts
    part_square = np.add.reduceat(parts.norms**2, starts) / parts.counts
    bad = norm**2 > part_square * (1 + ROUNDING)
    if bad.any():
        at = int(np.argmax(bad))
        raise InputError(
            f"{where}, {GRAD_NORM} is {norm[at]:g} at step {steps[at]} and the parts' root mean square norm "
            f"{math.sqrt(part_square[at]):g}; the norm of a mean must not exceed it"
        )
    estimates = per_step(batch_size, norm, parts.counts, part_square)
    return StepEstimates(steps, parts.counts, *estimates, batch_size, int(train["steps"]))


def over_steps(estimates: StepEstimates, quarters: tuple[int, int] = (0, 4)) -> RunNoise:
    """A run's noise scale over a stretch of its steps, every step counting the same.

    The interval is a jackknife that leaves out one segment of consecutive steps at a time, for neighbours are alike and
    single steps would pass for more evidence than they are. What changes steadily within the stretch widens it.

    Args:
        quarters: after which quarter of the run the stretch begins, and with which it ends.
    """
    first, last = (q * estimates.run_steps // 4 for q in quarters)
    within = (estimates.steps > first) & (estimates.steps <= last)
    finite = within & np.isfinite(estimates.grad_square) & np.isfinite(estimates.trace)
    grad_square, trace = estimates.grad_square[finite], estimates.trace[finite]
    steps, left_out = int(finite.sum()), int(within.sum() - finite.sum())
    if steps == 0:
        return RunNoise(_turned(math.nan, math.nan, math.nan), math.nan, math.nan, math.nan, 0, left_out)
    means = float(grad_square.mean()), float(trace.mean())
    inverse = means[0] / means[1] if means[1] > 0 else math.nan
    margin = jackknife_margin(grad_square, trace)
    return RunNoise(_turned(inverse, inverse - margin, inverse + margin), inverse, *means, steps, left_out)


def jackknife_margin(above: Floats, below: Floats) -> float:
    """Half the width of the 95 % t interval of mean(above) / mean(below), by the delete-one-segment jackknife.

    Segments are as equal as the number of steps allows, and weighted by their sizes. NaN with fewer than two segments,
    or where a denominator is not above 0.

    Source: Busing, Meijer and van der Leeden (1999), Statistics and Computing 9:3.
    """
    from scipy import stats

    n = len(above)
    segments = min(SEGMENTS, n // SHORTEST_SEGMENT)
    if segments < 2:
        return math.nan
    starts_K = np.arange(segments) * n // segments
    size_K = np.diff(np.append(starts_K, n))
    without_K = [values.sum() - np.add.reduceat(values, starts_K) for values in (above, below)]
    if (without_K[1] <= 0).any():
        return math.nan
    ratio_K, whole, share_K = without_K[0] / without_K[1], above.sum() / below.sum(), n / size_K
    pseudo_K = share_K * whole - (share_K - 1) * ratio_K
    center = segments * whole - ((1 - 1 / share_K) * ratio_K).sum()
    variance = ((pseudo_K - center) ** 2 / (share_K - 1)).mean()
    return float(stats.t.isf(0.025, segments - 1)) * math.sqrt(variance)


def over_runs(runs: Sequence[RunNoise]) -> tuple[NoiseScale, MeanInterval]:
    """The noise scale of several runs over the same stretch, and the mean and t interval of the inverse behind it.

    The inverses are averaged and the mean is turned back. One run alone keeps its own interval.
    """
    inverse = mean_interval([run.inverse for run in runs])
    if len(runs) == 1:
        return runs[0].scale, inverse
    return _turned(inverse.mean, inverse.low, inverse.high), inverse


def noise_scale(group: Group) -> NoiseScales | None:
    """One variant's section of the findings: every finished run, and the mean over those that did not fail.

    None where no run recorded the parts' norms, or none has finished.

    Raises:
        InputError: see `step_estimates`.
    """
    estimates = [step_estimates(run) if run.finished else None for run in group.runs]
    known = [each for each in estimates if each is not None]
    if not known:
        return None
    stretches = []
    for name, quarters in STRETCHES.items():
        noises = [None if each is None else over_steps(each, quarters) for each in estimates]
        survived = [noise for run, noise in zip(group.runs, noises, strict=True) if noise and not run.failed]
        scale, inverse = over_runs(survived)
        stretches.append(NoiseStretch(name, scale, inverse, noises))
    parts = sorted({int(count) for each in known for count in each.parts})
    return NoiseScales("sequences", known[0].batch_size, parts, stretches)


def _turned(inverse: float, low: float, high: float) -> NoiseScale:
    """An inverse and its interval as a noise scale."""
    estimate = 1 / inverse if inverse > 0 else math.nan
    if not high > 0:
        return NoiseScale(estimate, math.nan, math.nan)
    return NoiseScale(estimate, 1 / high, 1 / low if low > 0 else math.inf)
