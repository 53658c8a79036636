"""What the findings say of one variant against another, and of planned looks at that."""

from dataclasses import dataclass

from gpt.analysis.mean_difference import MeanDifference
from gpt.analysis.measured import Measured
from gpt.analysis.statistics.contrasts import Contrast, Equivalence
from gpt.analysis.statistics.failures import FailureContrast, RankContrast
from gpt.analysis.statistics.means import Interval
from gpt.analysis.statistics.over_text import TextInterval
from gpt.analysis.statistics.paired import PairedContrast
from gpt.analysis.statistics.planning import Planning
from gpt.analysis.statistics.skewness import Skewness
from gpt.analysis.statistics.verdict import Verdict
from gpt.records.formatting import decimals
from gpt.study.effects import Kind


def at(setting: str) -> str:
    """` at optim.lr = 0.001`, in a sentence; empty where a study has one setting."""
    return f" at {setting}" if setting else ""


@dataclass(frozen=True, kw_only=True)
class ContrastFindings(Contrast):
    """A contrast, and what it comes to among the others of its study."""

    paired: Measured[PairedContrast]
    rank: Measured[RankContrast]
    failures: Measured[FailureContrast]
    survivors: Measured[PairedContrast] | None
    failed_score: Measured[float]
    p: Measured[float]
    smallest_p: Measured[float]
    p_adjusted: Measured[float]
    """by Holm's method over the family"""
    family: int
    """contrasts corrected for together"""
    verdict: Verdict
    secondary: dict[str, MeanDifference]
    simultaneous: Measured[Interval] | None = None
    """of the difference, together with the others of the family; an end is NaN where there is none, see
    `gpt.analysis.statistics.simultaneous`"""
    equivalence: Measured[Equivalence] | None = None
    shape: Measured[Skewness] | None = None
    """of the differences"""
    over_text: TextInterval | None = None
    """of the mean difference on other text, the seeds as they are; None where no test window was kept"""
    planning: Measured[Planning] | None = None
    """pairs that a further study needs"""

    @property
    def places(self) -> int:
        """Decimals of the metric."""
        return decimals(self.smallest_effect)

    @property
    def at(self) -> str:
        return at(self.setting)


@dataclass(frozen=True, kw_only=True)
class EffectFindings:
    """What several factors do together: a main effect, an interaction, or a chosen pair of cells."""

    kind: Kind
    factors: list[str]
    """whose effect it is: one, or the two of an interaction; empty of a pair of cells"""
    averaged: list[str]
    """factors that it is a mean over"""
    contrast: ContrastFindings
    """of its two sides in each seed; an interaction is the first factor's difference at `b` minus that at `a`"""


@dataclass(frozen=True)
class LookFindings:
    """A planned look at a study's contrasts; see `gpt.analysis.statistics.sequential`."""

    pairs: int
    bound_first: float
    """p at or below which a contrast is different at this look, as the first of its family by Holm's method"""
    bound_last: float
    """the same as the last of its family"""
    verdicts: list[Verdict]
    """what every contrast allowed to say, setting by setting; empty of a look that was not made"""
