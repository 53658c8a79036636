"""The typed shape of what findings.json says of trials and of learning rates."""

from dataclasses import dataclass, field
from typing import Literal

from gpt.analysis.mean_difference import MeanDifference
from gpt.analysis.measured import Measured
from gpt.analysis.statistics.means import MeanInterval
from gpt.records.run_folder import State
from gpt.study.spec import Scalar


@dataclass(frozen=True)
class RateVariant:
    label: str
    values: Measured[list[float]]
    """by seed: mean loss over the rates minus the lowest of them"""
    mean: Measured[MeanInterval]


@dataclass(frozen=True)
class RateDifference(MeanDifference):
    b: str


@dataclass(frozen=True)
class RateSensitivity:
    """How much is lost on average at a learning rate that is not the best one."""

    field: str
    values: list[Scalar]
    variants: list[RateVariant]
    contrasts: list[RateDifference]
    setting: str = ""
    """where the rates were those of trials, the setting that they were tried in; empty where there is one"""


@dataclass(frozen=True)
class TuneFindings:
    """What a study gave each variant its own best value of, as its file asks for it."""

    grid: dict[str, list[Scalar]]
    """values that every variant was tried with, in every combination"""
    seeds: list[int]
    """of the trials; the comparison uses none of them"""
    extend: bool
    """a best at an end of the grid extends it, for all variants alike"""


@dataclass(frozen=True, kw_only=True)
class PointFindings:
    """The trials of one variant in one setting with the same values; lists are by seed of the trials."""

    values: dict[str, Scalar]
    """of the tuned fields"""
    runs: list[str]
    """fingerprints"""
    states: list[State]
    failed: list[bool]
    """finished, and failed to train"""
    losses: Measured[list[float]]
    """lowest validation loss, or the unigram baseline's of a trial that failed to train"""
    mean: Measured[MeanInterval]
    difference: MeanDifference | None
    """from the study's first variant at the same values; None for that variant itself"""


@dataclass(frozen=True, kw_only=True)
class TunedFindings:
    """One variant in one setting: all that was tried, and what is best."""

    variant: str
    setting: str
    points: list[PointFindings]
    chosen: dict[str, Scalar]
    """values of the lowest mean loss; empty while a trial is missing"""
    ends: dict[str, Literal["low", "high"]]
    """fields whose best value is at that end of the grid, while the loss still falls towards it"""
    best_of: Measured[list[float]]
    """mean lowest loss that 1, 2, ... points give which are drawn at random from the grid, up to all of them"""


@dataclass(frozen=True, kw_only=True)
class TuningFindings:
    """What the trials gave, and what they cost."""

    grid: dict[str, list[Scalar]]
    """as far as it was extended"""
    chosen_by: str
    trials: int
    finished: int
    failed: int
    """of the finished ones, those that failed to train"""
    as_planned: bool | None
    """whether variants differ in the factor alone between trials with the same values; None: no pair has finished"""
    share_of_compute: Measured[float]
    """of the training FLOPs of the finished runs, trials included, those of the trials"""
    training_flops: Measured[float]
    """of the finished trials"""
    arms: list[TunedFindings]
    """setting by setting, variant by variant"""
    sensitivity: list[RateSensitivity] = field(default_factory=list)
    """by setting, where the learning rate alone is tuned"""
