"""What the findings say of one variant in one setting."""

from dataclasses import dataclass, field

from gpt.analysis.measured import Measured
from gpt.analysis.outcomes import Outcome
from gpt.analysis.statistics.means import MeanInterval
from gpt.records.run_folder import FINISHED, State
from gpt.study.spec import Scalar


@dataclass(frozen=True)
class Secondary:
    """A secondary scalar of every seed; its mean is over the runs that did not fail."""

    values: Measured[list[float]]
    mean: Measured[MeanInterval]


@dataclass(frozen=True)
class EventCount:
    count: int
    runs: int
    """in how many runs it happened"""


@dataclass(frozen=True)
class GradientQuantiles:
    """Each layer's gradient norm before clipping; means over runs."""

    levels: Measured[list[float]]
    first_step: Measured[list[float]]
    """by layer"""
    by_layer: Measured[list[list[float]]]
    """by layer and level, over the steps after warm-up"""


@dataclass(frozen=True)
class MeanCurve:
    """Means over runs with their 95 % t intervals."""

    mean: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class LongRange:
    """How the trained models use their context."""

    n: int
    """runs"""
    context: int
    """trained context, characters"""
    loss_by_position: Measured[MeanCurve]
    context_lengths: list[int]
    """characters that the model sees, for `context_loss`"""
    context_loss: Measured[MeanCurve]
    cumulative_share: Measured[MeanCurve]
    """share of the gradient with respect to the past that lies within 1, 2, ... characters"""


@dataclass(frozen=True)
class NoiseScale:
    """B_simple in sequences with its 95 % interval."""

    estimate: float
    """NaN where |G|^2 is not estimated above 0: not determined"""
    low: float
    """NaN where there is no interval, or no noise scale at all that it holds"""
    high: float
    """not finite where the interval has no upper end; NaN where it has no lower end either"""


@dataclass(frozen=True)
class RunNoise:
    """One run's noise scale over a stretch of steps."""

    scale: NoiseScale
    """its interval is the jackknife's, over segments of steps"""
    inverse: float
    """|G|^2 / tr(Sigma), one over sequences; NaN without a step to estimate it from"""
    grad_square: float
    """mean estimate of |G|^2, squared loss per weight"""
    trace: float
    """mean estimate of tr(Sigma), squared loss per weight"""
    steps: int
    """steps that the means are over"""
    left_out: int
    """recorded steps whose norms were not finite"""


@dataclass(frozen=True)
class NoiseStretch:
    """The noise scale over a stretch of steps: a mean over runs that did not fail, and every run."""

    name: str
    scale: Measured[NoiseScale]
    inverse: Measured[MeanInterval]
    runs: list[Measured[RunNoise] | None]


@dataclass(frozen=True)
class NoiseScales:
    unit: str
    batch_size: int
    """sequences"""
    parts: list[int]
    """numbers of parts that the batches were cut into"""
    stretches: list[NoiseStretch]


@dataclass(frozen=True)
class ArrayFindings:
    """A probe array by layer; means over runs, and over heads where there are several."""

    neutral: float | None
    """what it would be if nothing special were going on"""
    first: Measured[list[float]] | None
    """at the first probed step, before training but for updates"""
    last: Measured[list[float]]
    """at the last probed step"""
    ranked: Measured[list[list[float]]] | None = None
    """at the last probed step by layer and head, the highest head first"""


@dataclass(frozen=True, kw_only=True)
class VariantFindings:
    """One variant in one setting; lists are by seed, in the study's order."""

    label: str
    value: Scalar
    runs: list[str]
    """fingerprints"""
    states: list[State]
    begun: list[bool]
    values: Measured[list[float]]
    """of the primary metric"""
    scores: Measured[list[float]]
    """the same with the score of a failed run in place of its value; NaN where the metric gives none"""
    failed: list[bool]
    why: list[str]
    """of a failed run; else empty"""
    mean: Measured[MeanInterval]
    """of the scores"""
    parameters: int | None
    training_flops_per_token: int | None
    secondary: dict[str, Secondary]
    layers: list[str]
    """names, from the input to the output"""
    arrays: dict[str, ArrayFindings]
    """probe arrays that run along the layers"""
    events: dict[str, EventCount]
    steps_survived: list[int | None]
    outcomes: list[Outcome | None]
    """how the finished runs ended"""
    gradient_quantiles: GradientQuantiles | None = None
    clipped_by_quarter: Measured[list[float]] | None = None
    """share of steps whose gradient was scaled down, in each quarter of the run"""
    long_range: LongRange | None = None
    noise_scale: NoiseScales | None = None
    tuned: dict[str, Scalar] = field(default_factory=dict)
    """the variant's own best values of the tuned fields"""

    @property
    def finished(self) -> int:
        """Runs that are done or failed."""
        return sum(state in FINISHED for state in self.states)
