"""What the records prove about the comparison itself: that nothing but the factor differed, and that the factor acted.

Everything here is computed from what the runs wrote down, none of it from the plan.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.collect import Group, Results, RunReader, SettingResults
from gpt.analysis.findings import Control, LayoutFindings, Treatment
from gpt.config import WITHOUT_EFFECT
from gpt.records.formatting import count, listed, percent
from gpt.records.schema import CLIP_SCALE, GRAD_NORM, TRAIN_LOSS, VAL_LOSS
from gpt.study.plan import label
from gpt.study.spec import ORDER_SEED
from gpt.yaml_file import canonical

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
        text=_control_text(results, effective, len(runs), hashes) if compared else "No pair has finished yet.",
    )


def _recorded(results: Results, setting: SettingResults, group: Group, run: RunReader) -> dict[str, Any]:
    """A run's configuration; another study may have made it that says, or leaves unsaid, that its order is its own."""
    fields = flat(run.info["config"])
    base = results.study.base.data.order_seed
    planned = {ORDER_SEED: base, **dict(setting.setting), results.study.factor: group.variant}[ORDER_SEED]
    own, recorded = fields["seed"], fields.get(ORDER_SEED)
    same = (own if planned is None else planned) == (own if recorded is None else recorded)
    return fields | {ORDER_SEED: planned if same else recorded}


def _control_text(results: Results, effective: Sequence[str], runs: int, hashes: Sequence[str]) -> str:
    allowed = ["`seed`", *(f"`{key}`" for key in results.study.settings)]
    text = (
        f"The configurations that {runs} finished runs recorded differ between variants in "
        f"{listed([f'`{key}`' for key in effective]) or 'nothing'}; apart from that only {listed(allowed)} "
        f"{'varies' if len(allowed) == 1 else 'vary'}."
    )
    same = "All runs trained on the same bytes" if len(hashes) == 1 else "The runs trained on different texts"
    return f"{text} {same} (SHA-256 {', '.join(f'`{h[:12]}…`' for h in hashes)})."


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
    whole = [i for i in range(len(setting.groups[0].runs)) if all(g.runs[i].finished for g in setting.groups)]
    if not whole:
        return Treatment(holds=None, evidence=["No seed has finished in all variants yet."], limits="")
    paths = _orders if factor == ORDER_SEED else _paths
    parts = [paths(setting.groups, whole), _size(setting.groups, whole)]
    if factor == "optim.clip":
        parts.insert(0, _clipping(setting.groups))
    if factor == "model.norm_placement":
        parts[0:0] = _placement(setting.groups, whole)
    holds = [part["holds"] for part in parts if "holds" in part]
    return Treatment(
        holds=all(holds),
        evidence=[part.pop("text") for part in parts],
        limits="This shows that the factor acted and where; that each variant is implemented as its name says is "
        "for the test suite to show.",
        **{key: value for part in parts for key, value in part.items() if key != "holds"},
    )


def _paths(groups: Sequence[Group], whole: Sequence[int]) -> dict[str, Any]:
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
        return {"text": "No seed took a finite first step in all variants, so their paths cannot be compared."}
    spread = [max(row) - min(row) for row in first]
    same = sum(s == 0 for s in spread)
    steps = sorted({step for step in parted if step is not None})
    never = parted.count(None)
    seeds = count(len(first), "seed")
    if same == len(first):
        when = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}" if steps else "no step"
        text = (
            f"At step 1, before any update, the training loss is equal to the last bit in all variants, in {same} of "
            f"{seeds}: the factor has not acted yet. Their paths part at {when}."
        )
    else:
        text = (
            f"At step 1, before any update, the training loss already differs in "
            f"{len(first) - same} of {seeds}, by {min(spread):.2g} to {max(spread):.2g} nats per character: "
            f"the factor changes the forward pass or the initial weights."
        )
    if never:
        text += f" In {never} of {len(parted)} comparisons the losses never differ: there the factor did nothing."
    return {"holds": never == 0, "text": text, "first_step_loss": first, "paths_part_at_step": parted}


def _orders(groups: Sequence[Group], whole: Sequence[int]) -> dict[str, Any]:
    """Order seeds of one initialisation seed start at one loss, before any batch, and part with the first batch."""
    starts, first = [], []
    for i in whole:
        starts.append([float(g.runs[i].curve(VAL_LOSS)[1][0]) for g in groups])
        first.append([float(g.runs[i].curve(TRAIN_LOSS)[1][0]) for g in groups])
    spread = [max(row) - min(row) for row in starts]
    apart = sum(len(set(row)) == len(row) for row in first)
    exact, close = sum(s == 0 for s in spread), all(s <= SAME_START for s in spread)
    seeds, orders = count(len(whole), "initialisation seed"), len(groups)
    if exact == len(whole):
        weights = f"the {orders} order seeds have the same validation loss to the last bit, in {exact} of {seeds}"
        meaning = "they start from the same weights"
    elif close:
        weights = f"the {orders} order seeds' validation losses differ by at most {max(spread):.2g}, in all {seeds}"
        meaning = "they start from the same weights and round differently"
    else:
        weights = f"the order seeds' validation losses differ by up to {max(spread):.2g} within one initialisation seed"
        meaning = "they do not start from the same weights"
    between = max(row[0] for row in starts) - min(row[0] for row in starts)
    text = (
        f"Before any batch, {weights}: {meaning}. Between initialisation seeds that loss spans {between:.2g} nats per "
        f"character. At step 1 the training loss differs between any two order seeds in {apart} of {seeds}: other "
        f"batches from the first one on."
    )
    return {
        "holds": close and apart == len(whole),
        "text": text,
        "loss_before_training": starts,
        "first_step_loss": first,
    }


def _size(groups: Sequence[Group], whole: Sequence[int]) -> dict[str, Any]:
    """Parameters and arithmetic, which a factor may bring with it and which are then no secret."""
    runs = {g.label: g.runs[whole[0]].info for g in groups}
    parameters = {name: run["parameters"] for name, run in runs.items()}
    flops = {name: run["training_flops_per_token"] for name, run in runs.items()}
    if len({*parameters.values()}) == len({*flops.values()}) == 1:
        text = (
            f"All variants have {next(iter(parameters.values())):,} parameters and cost "
            f"{next(iter(flops.values())):,} operations per character of training."
        )
    else:
        each = [
            f"`{name}` has {parameters[name]:,} parameters and costs {flops[name]:,} operations per character"
            for name in parameters
        ]
        text = f"The factor also changes the model's size or cost: {'; '.join(each)}."
    return {"text": text}


def _clipping(groups: Sequence[Group]) -> dict[str, Any]:
    """Every variant's share of scaled steps, and whether scaled gradients respect the limit."""
    said, holds, shares = [], True, {}
    for group in groups:
        scale, norm = _joined(group, CLIP_SCALE), _joined(group, GRAD_NORM)
        scaled = int((scale < 1).sum())
        shares[group.label] = scaled / len(scale) if len(scale) else None
        steps = f"{scaled:,} of {len(scale):,} steps were scaled ({percent(scaled / max(1, len(scale)))})"
        if not isinstance(group.variant, float | int):
            holds &= scaled == 0
            said.append(f"With `{group.label}` {steps}, which must be none.")
            continue
        finite = np.isfinite(norm)
        largest = float((norm * scale)[finite].max()) if finite.any() else 0.0
        missed = int((finite & (norm > group.variant * (1 + CLIP_ROUNDING)) & (scale >= 1)).sum())
        holds &= scaled > 0 and missed == 0 and largest <= group.variant * (1 + CLIP_ROUNDING)
        after = f"no gradient was longer than {largest:.4f} after clipping" if not missed else f"{missed} were missed"
        said.append(f"With the limit {group.label}, {steps}, and {after}.")
    if any(g.variant is not None and shares[g.label] == 0 for g in groups):
        said.append("A limit that no gradient reached is no treatment: its runs are those without clipping.")
    return {"holds": holds, "text": " ".join(said), "clipped_share": shares}


def _joined(group: Group, key: str) -> NDArray[np.float64]:
    return np.concatenate([np.empty(0), *(run.curve(key)[1] for run in group.runs if run.finished)])


def _placement(groups: Sequence[Group], whole: Sequence[int]) -> list[dict[str, Any]]:
    """Size of the residual stream before training: Post-LN normalises it after each layer, the others do not."""
    rms: dict[str, list[float]] = {}
    said, holds = [], True
    for group in groups:
        mean = mean_probe([group.runs[i] for i in whole], "residual_rms", 0)
        if mean is None:
            return [{"text": "The size of the residual stream was not measured (probes are off)."}]
        rms[group.label] = mean.tolist()
        settings = mean[1:]
        off = float(np.abs(settings - 1).max())
        holds &= (off <= UNIT_RMS) == (group.label == "post")
        said.append(f"with `{group.label}` {' '.join(f'{value:.3f}' for value in settings)}")
    text = (
        f"Before training, the root mean square of the residual stream after each layer is {listed(said)}: it must be "
        f"1.000 after every layer where normalisation follows the sum (`post`), and only there."
    )
    return [{"holds": holds, "text": text, "residual_rms_before_training": rms}]


def mean_probe(runs: Sequence[RunReader], name: str, index: int) -> NDArray[np.float64] | None:
    """Mean over runs of a probe array at one of its steps (0 the first, -1 the last); None if any lacks it."""
    if not runs or any(name not in run.probes for run in runs):
        return None
    return np.mean([run.probes[name][1][index] for run in runs], axis=0, dtype=np.float64)


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
