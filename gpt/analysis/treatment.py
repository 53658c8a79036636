"""Whether the factor acted, as far as the runs' records can show."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.collect import Group, SettingResults
from gpt.analysis.proof_findings import ClippingFindings, Treatment
from gpt.analysis.run_reader import mean_probe
from gpt.records.schema import CLIP_SCALE, GRAD_NORM, TRAIN_LOSS, VAL_LOSS
from gpt.study.spec import ORDER_SEED

CLIP_ROUNDING = 1e-4
"""relative error allowed between a clipped norm and its limit"""
UNIT_RMS = 0.05
"""distance from 1 within which a freshly initialised layer counts as normalised"""
SAME_START = 1e-5
"""difference in loss, nats per character, that layouts may round to from the same initial weights"""


def treatment(setting: SettingResults, factor: str) -> Treatment:
    """Whether the factor acted, as far as the records can show; `holds` is None while no pair has finished."""
    groups = setting.groups
    whole = [i for i in range(len(groups[0].runs)) if all(g.runs[i].finished for g in groups)]
    if not whole:
        return Treatment(holds=None)
    shown = _orders(groups, whole) if factor == ORDER_SEED else _paths(groups, whole)
    if factor == "optim.clip":
        clipping = {group.label: _clipping(group) for group in groups}
        acted = all(_clips(group, clipping[group.label]) for group in groups)
        shown = replace(shown, holds=shown.holds and acted, clipping=clipping)
    if factor == "model.norm_placement" and (rms := _stream_before_training(groups, whole)):
        declared = {group.label: group.runs[whole[0]].info.get("normalises_stream") for group in groups}
        placed = all(declared[label] in (None, _normalised(of)) for label, of in rms.items())
        shown = replace(
            shown, holds=shown.holds and placed, residual_rms_before_training=rms, normalises_stream=declared
        )
    return shown


def _paths(groups: Sequence[Group], whole: Sequence[int]) -> Treatment:
    """Where the training losses of the variants part: at step 1 already (no update yet), or later."""
    first, parted = [], []
    for i in whole:
        losses = [g.runs[i].curve(TRAIN_LOSS)[1] for g in groups]
        if not all(len(loss) and np.isfinite(loss[0]) for loss in losses):
            continue
        first.append([float(loss[0]) for loss in losses])
        for loss in losses[1:]:
            shared = min(len(loss), len(losses[0]))
            unequal = np.flatnonzero(loss[:shared] != losses[0][:shared])
            parted.append(int(unequal[0]) + 1 if len(unequal) else None)
    if not first:
        return Treatment(holds=True)
    return Treatment(holds=None not in parted, first_step_loss=first, paths_part_at_step=parted)


def _orders(groups: Sequence[Group], whole: Sequence[int]) -> Treatment:
    """Order seeds of one initialisation seed start at one loss, before any batch, and part with the first batch."""
    starts, first = (
        [[float(g.runs[i].curve(key)[1][0]) for g in groups] for i in whole] for key in (VAL_LOSS, TRAIN_LOSS)
    )
    close = all(max(row) - min(row) <= SAME_START for row in starts)
    apart = all(len(set(row)) == len(row) for row in first)
    return Treatment(holds=close and apart, first_step_loss=first, loss_before_training=starts)


def _clipping(group: Group) -> ClippingFindings:
    """How often and how well a variant's gradients were scaled down."""
    scale, norm = _joined(group, CLIP_SCALE), _joined(group, GRAD_NORM)
    scaled, finite = int((scale < 1).sum()), np.isfinite(norm)
    limit = group.variant if isinstance(group.variant, float | int) else math.inf
    return ClippingFindings(
        steps=len(scale),
        scaled=scaled,
        share=scaled / len(scale) if len(scale) else math.nan,
        largest_after=float((norm * scale)[finite].max()) if finite.any() else 0.0,
        missed=int((finite & (norm > limit * (1 + CLIP_ROUNDING)) & (scale >= 1)).sum()),
    )


def _clips(group: Group, clipping: ClippingFindings) -> bool:
    """Whether a variant with a limit keeps to it and one without never clips."""
    if not isinstance(group.variant, float | int):
        return clipping.scaled == 0
    return (
        clipping.scaled > 0 and clipping.missed == 0 and clipping.largest_after <= group.variant * (1 + CLIP_ROUNDING)
    )


def _joined(group: Group, key: str) -> NDArray[np.float64]:
    return np.concatenate([np.empty(0), *(run.curve(key)[1] for run in group.runs if run.finished)])


def _stream_before_training(groups: Sequence[Group], whole: Sequence[int]) -> dict[str, list[float]] | None:
    """Size of the residual stream by variant and depth; None where it was not measured."""
    rms = {group.label: mean_probe([group.runs[i] for i in whole], "residual_rms") for group in groups}
    measured = {label: mean[0].tolist() for label, mean in rms.items() if mean is not None}
    return measured if len(measured) == len(groups) else None


def _normalised(rms: Sequence[float]) -> bool:
    """Whether the stream has the size that a norm leaves, after every layer."""
    return max(abs(value - 1) for value in rms[1:]) <= UNIT_RMS
