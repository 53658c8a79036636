"""What a study answers, for a program: the numbers of each verdict, and where all others are."""

import math
from dataclasses import dataclass

from gpt.analysis.findings import Findings
from gpt.report.text.effects import effect_name, effect_sentence
from gpt.report.text.seed_variance import decomposed, spread_sentences
from gpt.report.text.sentences import sentence
from gpt.report.text.tuning import compared_at
from gpt.study.folder import StudyFolder
from gpt.study.spec import Scalar


@dataclass(frozen=True)
class ContrastAnswer:
    """One variant against another; NaN where no pair of seeds has a number."""

    a: str
    b: str
    setting: str
    seeds: int
    """pairs that finished"""
    difference: float
    """mean of b minus a, metric units"""
    among_survivors: bool
    """a run failed: the difference is of the pairs that survived, while p and verdict count every run"""
    low: float
    """of its 95 % interval"""
    high: float
    p: float
    """corrected for the contrasts of the study"""
    failed_a: int
    failed_b: int
    verdict: str
    sentence: str


@dataclass(frozen=True)
class EffectAnswer:
    """A main effect, an interaction or a chosen pair of cells; NaN where no seed has every number."""

    kind: str
    factors: list[str]
    compared: str
    seeds: int
    difference: float
    """metric units; of an interaction, a difference of differences"""
    low: float
    """of its 95 % interval"""
    high: float
    p: float
    """corrected together with the contrasts of the study"""
    verdict: str
    sentence: str


@dataclass(frozen=True)
class TunedAnswer:
    """One variant's best values in one setting."""

    variant: str
    setting: str
    chosen: dict[str, Scalar]
    """empty while a trial is missing"""
    ends: dict[str, str]
    """fields whose best value is the `low` or `high` end of the grid"""
    validation_loss: float
    """mean over the seeds of the trials"""


@dataclass(frozen=True)
class StudyAnswer:
    """One study."""

    study: str
    question: str
    metric: str
    smallest_effect: float
    complete: bool
    """every planned run has finished"""
    findings: str
    """the file of all numbers"""
    page: str
    contrasts: list[ContrastAnswer]
    spreads: list[str]
    """of a study of seeds, what each setting's spread between runs is made of"""
    effects: list[EffectAnswer]
    """of a study of several factors"""
    tuned: list[TunedAnswer]
    """of a study that tunes, setting by setting"""


def answer_of(folder: StudyFolder, findings: Findings) -> StudyAnswer:
    study = findings.study
    return StudyAnswer(
        study=study.name,
        question=study.question,
        metric=study.metric.name,
        smallest_effect=study.smallest_effect,
        complete=findings.complete,
        findings=str(folder.findings),
        page=str(folder.page),
        contrasts=[
            ContrastAnswer(
                a=each.a,
                b=each.b,
                setting=each.setting,
                seeds=len(each.seeds),
                difference=each.paired.mean_difference,
                among_survivors=each.among_survivors,
                low=each.paired.low,
                high=each.paired.high,
                p=each.p_adjusted,
                failed_a=each.failures.failed_a,
                failed_b=each.failures.failed_b,
                verdict=each.verdict,
                sentence=sentence(each, study.metric) + compared_at(findings, each),
            )
            for each in findings.contrasts
        ],
        spreads=[" ".join(spread_sentences(study, *spread)) for spread in decomposed(findings)],
        effects=[
            EffectAnswer(
                kind=each.kind,
                factors=each.factors,
                compared=effect_name(each),
                seeds=len(each.contrast.seeds),
                difference=each.contrast.paired.mean_difference,
                low=each.contrast.paired.low,
                high=each.contrast.paired.high,
                p=each.contrast.p_adjusted,
                verdict=each.contrast.verdict,
                sentence=effect_sentence(each, study.metric),
            )
            for each in findings.effects
        ],
        tuned=[
            TunedAnswer(
                variant=arm.variant,
                setting=arm.setting,
                chosen=arm.chosen,
                ends=dict(arm.ends),
                validation_loss=next((p.mean.mean for p in arm.points if p.values == arm.chosen), math.nan),
            )
            for arm in (findings.tuning.arms if findings.tuning else ())
        ],
    )
