"""What the findings say of a comparison's control: that nothing but the factor differed, and that it acted."""

from dataclasses import dataclass

from gpt.analysis.measured import Measured


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
