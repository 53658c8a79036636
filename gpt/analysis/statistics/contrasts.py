"""One variant against another: the numbers and the verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gpt.analysis.statistics.failures import DivergenceContrast, RankContrast, divergence_contrast, rank_contrast
from gpt.analysis.statistics.paired import PairedContrast, Verdict, holm, paired_contrast, verdict
from gpt.records.metric import Metric

ALPHA = 0.05
"""level of every test"""


@dataclass(frozen=True)
class Contrast:
    """Variant b compared with variant a in one setting, over the seeds that finished in both."""

    a: str
    """the study's first variant"""
    b: str
    setting: str
    """`optim.lr = 0.001`; empty where nothing is crossed"""
    metric: str
    smallest_effect: float
    """metric units"""
    planned: int
    """seeds of the study"""
    seeds: list[int]
    """those that finished in both variants"""
    paired: PairedContrast
    """of the values; a diverged run has none, so with one in the contrast this is of survivors only"""
    rank: RankContrast
    divergence: DivergenceContrast

    @property
    def among_survivors(self) -> bool:
        """A run diverged, so that the paired difference is of survivors only."""
        return self.divergence.diverged_a + self.divergence.diverged_b > 0

    @property
    def basis(self) -> Literal["paired difference", "rank, divergence worst"]:
        """The comparison that leads; the rule is fixed before the run: by rank as soon as any run diverged."""
        return "rank, divergence worst" if self.among_survivors else "paired difference"

    @property
    def p(self) -> float:
        """The leading comparison's p: sign flips of the differences, or signs alone."""
        return self.rank.p_sign if self.among_survivors else self.paired.p_sign_flip

    @property
    def smallest_p(self) -> float:
        """The smallest that `p` can be with this many pairs, of which ties tell nothing."""
        return (
            self.paired.smallest_p if not self.among_survivors else min(1.0, 2.0 ** (1 - self.rank.n + self.rank.ties))
        )


def compare(
    a: str,
    b: str,
    setting: str,
    metric: Metric,
    smallest_effect: float,
    planned: int,
    pairs: Sequence[tuple[int, float, float, bool, bool]],
) -> Contrast:
    """Compare two variants.

    Args:
        pairs: seed, value of a, value of b, whether a diverged, whether b diverged; of each seed finished in both.
    """
    diverged_a, diverged_b = [p[3] for p in pairs], [p[4] for p in pairs]
    values_a = [math.nan if p[3] else p[1] for p in pairs]
    values_b = [math.nan if p[4] else p[2] for p in pairs]
    lower_is_better = metric.scalar.lower_is_better is not False
    return Contrast(
        a=a,
        b=b,
        setting=setting,
        metric=str(metric),
        smallest_effect=smallest_effect,
        planned=planned,
        seeds=[p[0] for p in pairs],
        paired=paired_contrast(values_a, values_b, smallest_effect),
        rank=rank_contrast(values_a, values_b, diverged_a, diverged_b, lower_is_better),
        divergence=divergence_contrast(diverged_a, diverged_b),
    )


@dataclass(frozen=True)
class CorrectedContrast:
    """A contrast among the contrasts that it is reported with."""

    contrast: Contrast
    p_adjusted: float
    """the contrast's p after Holm's correction over the family"""
    family: int
    """contrasts that were corrected for together"""
    verdict: Verdict


def correct(contrasts: Sequence[Contrast]) -> list[CorrectedContrast]:
    """Correct for all contrasts that are reported together, and say what each allows to say."""
    adjusted = holm([contrast.p for contrast in contrasts])
    family = sum(not math.isnan(p) for p in adjusted)
    return [
        CorrectedContrast(c, p, family, verdict(c.paired, p, c.smallest_effect, ALPHA))
        for c, p in zip(contrasts, adjusted, strict=True)
    ]
