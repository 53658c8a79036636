"""The typed shape of findings.json: what a study found, in numbers; `gpt.report.text` makes sentences of them.

A number that could not be computed is NaN here and null in the file; so is a noise scale without an upper bound.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from gpt.analysis.measured import Measured
from gpt.analysis.outcomes import Outcome
from gpt.analysis.statistics.contrasts import Basis, Equivalence
from gpt.analysis.statistics.failures import FailureContrast, RankContrast
from gpt.analysis.statistics.means import Interval, MeanInterval
from gpt.analysis.statistics.noise_floor import NoiseFloor
from gpt.analysis.statistics.over_text import TextInterval
from gpt.analysis.statistics.paired import PairedContrast
from gpt.analysis.statistics.planning import Planning
from gpt.analysis.statistics.skewness import Skewness
from gpt.analysis.statistics.variance import Components, Shared
from gpt.analysis.statistics.verdict import Verdict
from gpt.analysis.tuning_findings import MeanDifference, RateSensitivity, TuneFindings, TuningFindings
from gpt.errors import InputError
from gpt.records.catalogue import Array, Entry
from gpt.records.files import read_json
from gpt.records.formatting import decimals
from gpt.records.run_folder import FINISHED, State
from gpt.study.spec import Kind, Scalar, kind_of

Source = Literal["init", "order", "residual"]
"""of the variance between runs: seed of the weights, seed of the batches, what belongs to a pair of them"""


def at(setting: str) -> str:
    """` at optim.lr = 0.001`, in a sentence; empty where a study has one setting."""
    return f" at {setting}" if setting else ""


@dataclass(frozen=True)
class MetricFindings:
    """The primary metric."""

    name: str
    title: str
    unit: str
    meaning: str
    lower_is_better: bool | None


@dataclass(frozen=True)
class StudyFindings:
    """What was asked, and of what."""

    name: str
    question: str
    factor: str
    variants: list[Scalar]
    settings: dict[str, list[Scalar]]
    """fields crossed with every variant"""
    seeds: list[int]
    metric: MetricFindings
    smallest_effect: float
    """metric units"""
    base: dict[str, Any]
    """the base run by dotted names"""
    looks: list[int] = field(default_factory=list)
    """numbers of seeds at which the contrasts are judged; empty: when every run is done"""
    planned_seeds: list[int] = field(default_factory=list)
    """where there are looks, all that they may take; `seeds` are those up to the look that ended the study"""
    tune: TuneFindings | None = None
    """what each variant had its own best value of; None: nothing"""

    @property
    def kind(self) -> Kind:
        return kind_of(self.factor)

    @property
    def places(self) -> int:
        """Decimals of the metric."""
        return decimals(self.smallest_effect)

    @property
    def held(self) -> dict[str, Scalar]:
        """The crossed fields of a single value, which all runs share."""
        return {key: values[0] for key, values in self.settings.items() if len(values) == 1}

    def config(self, setting: "SettingFindings", variant: "VariantFindings") -> dict[str, Any]:
        """The configuration of a variant's runs in a setting, by dotted names."""
        return {**self.base, **setting.setting, **variant.tuned, self.factor: variant.value}


@dataclass(frozen=True)
class RunCounts:
    planned: int
    finished: int
    states: dict[State, int]


@dataclass(frozen=True)
class Control:
    """Whether the finished runs' own configurations differ between variants in the factor alone."""

    holds: bool | None
    """None as long as no seed has finished in two variants of a setting"""
    expected: list[str]
    differing_fields: list[str]
    differing_fields_without_effect: list[str]
    runs_as_planned: bool
    runs_compared: int
    data_sha256: list[str]


@dataclass(frozen=True)
class ClippingFindings:
    """One variant's gradients over all steps of its finished runs."""

    steps: int
    scaled: int
    share: Measured[float]
    """of the steps, those scaled down"""
    largest_after: Measured[float]
    """largest norm after clipping"""
    missed: int
    """steps above the limit that were not scaled down"""


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """Whether the factor acted, as far as the records of one setting can show."""

    holds: bool | None
    """None as long as no seed has finished in all variants"""
    first_step_loss: Measured[list[list[float]]] | None = None
    """by seed and variant, before any update"""
    paths_part_at_step: list[int | None] | None = None
    """by seed and variant but the first, where the training loss first differs; None where it never does"""
    loss_before_training: Measured[list[list[float]]] | None = None
    """validation loss by initialisation seed and order seed"""
    clipping: dict[str, ClippingFindings] | None = None
    """by variant"""
    residual_rms_before_training: Measured[dict[str, list[float]]] | None = None
    """by variant: after the embedding and each layer"""
    normalises_stream: dict[str, bool | None] | None = None
    """by variant: whether its placement of the norms says that it normalises the stream; None where it says nothing"""


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


@dataclass(frozen=True, kw_only=True)
class ContrastFindings:
    """Variant b compared with variant a in one setting, over the seeds that finished in both."""

    a: str
    b: str
    setting: str
    metric: str
    smallest_effect: float
    planned: int
    """seeds of the study"""
    seeds: list[int]
    """those that finished in both variants"""
    paired: Measured[PairedContrast]
    rank: Measured[RankContrast]
    failures: Measured[FailureContrast]
    among_survivors: bool
    """a run failed that has no score, so that `paired` is about survivors only"""
    basis: Basis
    p: Measured[float]
    """of the comparison that leads"""
    smallest_p: Measured[float]
    """the smallest that it can be with this many pairs"""
    p_adjusted: Measured[float]
    """by Holm's method over the family"""
    family: int
    """contrasts corrected for together"""
    verdict: Verdict
    secondary: dict[str, MeanDifference]
    survivors: Measured[PairedContrast] | None = None
    """of the pairs in which both variants trained; None where no run failed"""
    failed_score: Measured[float] = math.nan
    """that of a failed run, in `paired`; NaN where none failed, or the metric gives none"""
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


@dataclass(frozen=True)
class Pairs:
    """Pairs that find the smallest effect with a power of 80 %; None: more than 10,000."""

    sd: int | None
    low: int | None
    high: int | None


@dataclass(frozen=True)
class SecondarySpread:
    mean: Measured[float]
    sds: Measured[dict[Source, float]]


@dataclass(frozen=True)
class SpreadDuringTraining:
    """Standard deviation of the validation loss by source, at every evaluation."""

    steps: list[int]
    init: Measured[list[float]]
    order: Measured[list[float]]
    residual: Measured[list[float]]


@dataclass(frozen=True, kw_only=True)
class SpreadFindings:
    """The spread between runs by source; nothing is decomposed while a run is missing or failed."""

    planned: int
    finished: int
    failed: int
    split: Measured[Components] | None = None
    pairs: dict[Shared, Pairs] = field(default_factory=dict)
    secondary: dict[str, SecondarySpread] = field(default_factory=dict)
    during_training: SpreadDuringTraining | None = None


@dataclass(frozen=True, kw_only=True)
class SettingFindings:
    """One setting: the place within which variants are compared."""

    label: str
    setting: dict[str, Scalar]
    variants: list[VariantFindings]
    contrasts: list[ContrastFindings]
    """every variant against the first"""
    components: SpreadFindings | None = None
    """of a study of seeds, in place of contrasts"""
    noise_floor: Measured[NoiseFloor] | None = None
    """of the primary metric, over the runs that did not fail; of a study of contrasts"""
    treatment: Treatment

    @property
    def at(self) -> str:
        return at(self.label)


@dataclass(frozen=True)
class DataFindings:
    sha256: str
    vocabulary: int | None = None
    train_characters: int | None = None
    val_characters: int | None = None
    test_characters: int | None = None
    """None where there is no test text"""
    unigram_loss: float | None = None
    """on validation text, nats per character"""
    bigram_loss: float | None = None
    """the same of a model that counts pairs of characters"""
    unigram_losses: dict[str, float] = field(default_factory=dict)
    """by the key of the loss: on the text that it is of"""


@dataclass(frozen=True)
class LayoutFindings:
    """How runs were computed."""

    engine: str
    ranks: int
    micro_batches: int
    seeds_together: int
    runs: int
    """how many in this way; a resumed run may count in several"""


@dataclass(frozen=True)
class FigureFindings:
    """A figure's place in the report."""

    name: str
    """what it shows, the same in every setting and study"""
    file: str
    setting: str
    """label of the setting that it shows; empty where it shows all"""
    title: str
    caption: str


@dataclass(frozen=True)
class LeftOutFigure:
    """A figure that an error has left out of the report."""

    name: str
    setting: str
    """as in `FigureFindings`"""
    title: str
    error: str
    """`ValueError: no such axis (loss.py, line 31)`"""


class Findings(BaseModel):
    """Everything that a report says."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: Literal[4] = 4
    study: StudyFindings
    runs: RunCounts
    family: int
    control: Control
    secondary: list[Entry]
    """what the secondary scalars are, in the order of a table"""
    arrays: list[Array]
    """what the probe arrays are"""
    settings: list[SettingFindings]
    rate_sensitivity: RateSensitivity | None
    data: DataFindings
    stack: dict[str, Scalar]
    """what all runs' stacks share"""
    stack_differences: dict[str, list[str]]
    """every value of what they do not"""
    layouts: list[LayoutFindings]
    hardware: list[dict[str, Scalar]]
    looks: list[LookFindings] = []
    """every one that the study plans"""
    tuning: TuningFindings | None = None
    """what the trials gave; None where nothing is tuned"""
    figures: list[FigureFindings] = []
    left_out_figures: list[LeftOutFigure] = []

    @property
    def complete(self) -> bool:
        return self.runs.finished == self.runs.planned

    @property
    def contrasts(self) -> list[ContrastFindings]:
        """Those of all settings."""
        return [contrast for setting in self.settings for contrast in setting.contrasts]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write_json` wrote of findings.

        Raises:
            InputError: the file is missing, no JSON, or of another version.
        """
        data = read_json(path)
        if not isinstance(data, dict) or data.get("version") != 4:
            raise InputError(f"{path}: must be findings of version 4; `gpt study report OUT` writes them again")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise InputError(f"{path}: corrupt: {key}: {first['msg'].lower()}") from None


class _Schema(GenerateJsonSchema):
    def float_schema(self, schema: core_schema.FloatSchema) -> dict[str, Any]:
        """JSON has null where a number is not finite."""
        return {"type": ["number", "null"]}


def findings_schema() -> dict[str, Any]:
    """The JSON schema of findings.json, as docs/findings.schema.json publishes it."""
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **Findings.model_json_schema(schema_generator=_Schema, mode="serialization"),
    }
