"""What the records prove about the comparison itself: that nothing but the factor differed, and that the factor acted.

Everything here is computed from what the runs wrote down, none of it from the plan.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.collect import Group, Results, SettingResults
from gpt.analysis.findings import ClippingFindings, Control, LayoutFindings, Treatment
from gpt.analysis.run_reader import RunReader
from gpt.fields import canonical
from gpt.fingerprint import WITHOUT_EFFECT
from gpt.records.formatting import listed
from gpt.records.schema import CLIP_SCALE, GRAD_NORM, TRAIN_LOSS, VAL_LOSS
from gpt.study.plan import label
from gpt.study.spec import ORDER_SEED

CLIP_ROUNDING = 1e-4
"""relative error allowed between a clipped norm and its limit"""
UNIT_RMS = 0.05
"""distance from 1 within which a freshly initialised layer counts as normalised"""
SAME_START = 1e-5
"""difference in loss, nats per character, that layouts may round to from the same initial weights"""


def control(results: Results) -> Control:
    """Which fields of the runs' own configurations differ, and whether they are exactly those that should.

    `holds` is None as long as no seed has finished in two variants of a setting.
    """
    runs = [(setting, group, seed, run) for setting, group, seed, run in results.places() if run.finished]
    configs = {run.fingerprint: _recorded(results, setting, group, run) for setting, group, _, run in runs}
    between: set[str] = set()
    compared = 0
    for setting in results.settings:
        for i in range(len(results.study.seeds)):
            pair = [configs[g.runs[i].fingerprint] for g in setting.groups if g.runs[i].finished]
            between |= differing(pair)
            compared += len(pair) >= 2
    as_planned = all(
        configs[run.fingerprint].get(key) == value
        for setting, group, seed, run in runs
        for key, value in {results.study.factor: group.variant, "seed": seed, **dict(setting.setting)}.items()
    )
    elsewhere = differing(list(configs.values())) - between - {"seed", *results.study.settings}
    hashes = sorted({run.info["data"]["sha256"] for _, _, _, run in runs})
    effective = sorted((between | elsewhere) - WITHOUT_EFFECT)
    holds = effective == [results.study.factor] and as_planned and hashes == [results.data_sha256]
    return Control(
        holds=holds if compared else None,
        expected=[results.study.factor],
        differing_fields=effective,
        differing_fields_without_effect=sorted((between | elsewhere) & WITHOUT_EFFECT),
        runs_as_planned=as_planned,
        runs_compared=len(runs),
        data_sha256=hashes,
    )


def _recorded(results: Results, setting: SettingResults, group: Group, run: RunReader) -> dict[str, Any]:
    """A run's configuration; another study may have made it that says, or leaves unsaid, that its order is its own."""
    fields = flat(run.info["config"])
    base = results.study.base.data.order_seed
    planned = {ORDER_SEED: base, **dict(setting.setting), results.study.factor: group.variant}[ORDER_SEED]
    own, recorded = fields["seed"], fields.get(ORDER_SEED)
    same = (own if planned is None else planned) == (own if recorded is None else recorded)
    return fields | {ORDER_SEED: planned if same else recorded}


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A recorded configuration by dotted names."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found


def differing(mappings: Sequence[Mapping[str, Any]]) -> set[str]:
    """Keys that are not in all of the mappings with the same value."""
    keys = {key for mapping in mappings for key in mapping}
    return {key for key in keys if len({canonical(m.get(key, "missing")) for m in mappings}) > 1}


def treatment(setting: SettingResults, factor: str) -> Treatment:
    """Whether the factor acted, as far as the records can show; `holds` is None while no pair has finished."""
    groups = setting.groups
    whole = [i for i in range(len(groups[0].runs)) if all(g.runs[i].finished for g in groups)]
    if not whole:
        return Treatment(holds=None)
    found = _orders(groups, whole) if factor == ORDER_SEED else _paths(groups, whole)
    if factor == "optim.clip":
        clipping = {group.label: _clipping(group) for group in groups}
        acted = all(_clips(group, clipping[group.label]) for group in groups)
        found = replace(found, holds=found.holds and acted, clipping=clipping)
    if factor == "model.norm_placement" and (rms := _stream_before_training(groups, whole)):
        placed = all(_normalised(of) == (label == "post") for label, of in rms.items())
        found = replace(found, holds=found.holds and placed, residual_rms_before_training=rms)
    return found


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


def _clips(group: Group, found: ClippingFindings) -> bool:
    """Whether a variant with a limit keeps to it and one without never clips."""
    if not isinstance(group.variant, float | int):
        return found.scaled == 0
    return found.scaled > 0 and found.missed == 0 and found.largest_after <= group.variant * (1 + CLIP_ROUNDING)


def _joined(group: Group, key: str) -> NDArray[np.float64]:
    return np.concatenate([np.empty(0), *(run.curve(key)[1] for run in group.runs if run.finished)])


def _stream_before_training(groups: Sequence[Group], whole: Sequence[int]) -> dict[str, list[float]] | None:
    """Size of the residual stream by variant and depth; None where it was not measured."""
    rms = {group.label: mean_probe([group.runs[i] for i in whole], "residual_rms") for group in groups}
    found = {label: mean[0].tolist() for label, mean in rms.items() if mean is not None}
    return found if len(found) == len(groups) else None


def _normalised(rms: Sequence[float]) -> bool:
    """Post-LN normalises the stream after each layer, the others do not."""
    return max(abs(value - 1) for value in rms[1:]) <= UNIT_RMS


def mean_probe(runs: Sequence[RunReader], name: str) -> NDArray[np.float64] | None:
    """Mean over runs of a probe array at the first and the last probed step, (2, ...); None if any lacks it."""
    if not runs or any(name not in run.probes for run in runs):
        return None
    return np.mean([run.probes[name][1][[0, -1]] for run in runs], axis=0, dtype=np.float64)


def layouts_of(runs: Sequence[RunReader]) -> list[LayoutFindings]:
    """How the runs were computed and how many in each way; a resumed run may count in several."""
    counts = Counter(
        canonical({key: value for key, value in layout.items() if key != "from_step"})
        for run in runs
        for layout in run.info.get("layouts", [])
    )
    return [LayoutFindings(**json.loads(layout), runs=count) for layout, count in sorted(counts.items())]


def stack_of(runs: Sequence[RunReader]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """What the runs' stacks and code share, and every value of what they do not.

    Runs have parts of the code in common, each its own version; commits are named but may differ.
    """
    stacks = [run.info["stack"] for run in runs]
    differences = {key: sorted({label(s.get(key)) for s in stacks}) for key in differing(stacks)}
    common = {key: value for key, value in stacks[0].items() if key not in differences} if stacks else {}
    versions: dict[str, set[str]] = {}
    for part, version in [part for run in runs for part in run.info["code"].items()]:
        versions.setdefault(part, set()).add(version)
    differences |= {f"code of {part}": sorted(found) for part, found in versions.items() if len(found) > 1}
    if runs and all(len(found) == 1 for found in versions.values()):
        whole = canonical({part: list(found) for part, found in versions.items()})
        common["code"] = hashlib.sha256(whole.encode()).hexdigest()[:12]
    common |= {key: value for key in ("gpt", "commit") if (value := listed(_sources(runs, key)))}
    return common, dict(sorted(differences.items()))


def _sources(runs: Sequence[RunReader], key: str) -> list[str]:
    """Every release, or commit, that runs were made with."""
    sources = [run.info["source"] for run in runs]
    changed = " with changes"
    found = [s[key] + (changed if key == "commit" and s["dirty"] else "") for s in sources if s[key] is not None]
    return sorted(set(found))
