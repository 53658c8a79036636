"""What a study found, as data: the same cells give the same findings, whenever and wherever they were made.

Nothing in here is a time, a place or the order in which cells were trained.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpt.analysis.collect import BlockResults, CellRecord, Group, Results
from gpt.analysis.controls import control, layouts_of, stack_of, treatment
from gpt.analysis.noise_scale import noise_scale
from gpt.analysis.rate_sensitivity import rate_sensitivity
from gpt.analysis.secondary import SECONDARY
from gpt.analysis.seed_variance import crossed, said_of
from gpt.analysis.statistics.contrasts import Contrast, Judged, compare, contrast_from, judge
from gpt.analysis.statistics.paired import mean_interval, paired_contrast
from gpt.analysis.summaries import profiles
from gpt.config import canonical, flatten
from gpt.records.formatting import metric_words
from gpt.report.text.limitations import limitations
from gpt.report.text.observations import observations
from gpt.report.text.sentences import sentence
from gpt.study.plan import fields_text
from gpt.study.spec import Study


def build_findings(results: Results) -> dict[str, Any]:
    """Everything a report says, in JSON's types but for NaN; see `gpt.records.files.write_json`."""
    cells = [cell for _, _, _, cell in results.places()]
    finished = [cell for cell in cells if cell.finished]
    states = Counter(cell.status.state for cell in cells)
    stack, stack_differences = stack_of(finished)
    judged = iter(judge([contrast for block in results.blocks for contrast in contrasts(results, block)]))
    blocks = [_block(results, block, judged) for block in results.blocks]
    return {
        "study": _study(results),
        "complete": len(finished) == len(cells),
        "cells": {"planned": len(cells), "finished": len(finished), "states": dict(sorted(states.items()))},
        "progress": "complete" if len(finished) == len(cells) else f"incomplete: {len(finished)} of {len(cells)} cells",
        "verdicts": [sentence for block in blocks for sentence in said_of(block)],
        "family": max((contrast["family"] for block in blocks for contrast in block["contrasts"]), default=0),
        "control": control(results),
        "blocks": blocks,
        "rate_sensitivity": rate_sensitivity(results),
        "data": _data(finished, results.data_sha256),
        "stack": stack,
        "stack_differences": stack_differences,
        "layouts": layouts_of(finished),
        "hardware": _distinct([cell.run["hardware"] for cell in finished]),
        "limitations": limitations(results, blocks),
    }


def contrasts(results: Results, block: BlockResults) -> list[Contrast]:
    """Every variant against the first; none where the answer is no difference between variants."""
    first, *others = block.groups if results.study.kind == "contrasts" else block.groups[:1]
    found = []
    for other in others:
        pairs = [
            (seed, a.value(results.metric), b.value(results.metric), a.diverged, b.diverged)
            for seed, a, b in zip(results.study.seeds, first.cells, other.cells, strict=True)
            if a.finished and b.finished
        ]
        effect, planned = results.study.smallest_effect, len(results.study.seeds)
        found.append(compare(first.label, other.label, block.label, results.metric, effect, planned, pairs))
    return found


def judged_of(findings: Mapping[str, Any]) -> list[Judged]:
    """A study's contrasts, corrected for each other; what else is shown or published beside them changes no verdict."""
    return judge([contrast_from(contrast) for block in findings["blocks"] for contrast in block["contrasts"]])


def shown_config(study: Study) -> dict[str, Any]:
    """The base run by dotted names; of a text file only its name, for its folder is nobody's business."""
    fields = flatten(study.base)
    return {**fields, "data.source": Path(fields["data.source"]).name}


def _study(results: Results) -> dict[str, Any]:
    study, metric = results.study, results.metric
    return {
        "name": study.name,
        "question": study.question,
        "factor": study.factor,
        "variants": list(study.variants),
        "blocks": {key: list(values) for key, values in study.blocks.items()},
        "held": fields_text(study.held),
        "seeds": list(study.seeds),
        "metric": {
            "name": study.metric,
            "words": metric_words(metric),
            "unit": metric.scalar.unit,
            "description": metric.scalar.description,
            "lower_is_better": metric.scalar.lower_is_better,
        },
        "smallest_effect": study.smallest_effect,
        "base": shown_config(study),
    }


def _block(results: Results, block: BlockResults, judged: Any) -> dict[str, Any]:
    variants = [_variant(results, group) for group in block.groups]
    treated = treatment(block, results.study.factor)
    about = {"label": block.label, "block": dict(block.block), "variants": variants}
    if results.study.kind == "components":
        taken_apart = {"contrasts": [], "components": crossed(results, block)}
        return {**about, **taken_apart, "treatment": treated, "observations": []}
    said = [next(judged) for _ in block.groups[1:]]
    found = {
        **about,
        "contrasts": [
            {
                **j.contrast.as_dict(),
                "p_adjusted": j.p_adjusted,
                "family": j.family,
                "verdict": j.verdict,
                "sentence": sentence(j),
                "secondary": _secondary_differences(block.groups[0], group),
            }
            for j, group in zip(said, block.groups[1:], strict=True)
        ],
        "treatment": treated,
    }
    return {**found, "observations": observations(found, results.study.base.model.context)}


def _variant(results: Results, group: Group) -> dict[str, Any]:
    whole = [cell for cell in group.cells if cell.finished]
    values = [cell.value(results.metric) for cell in group.cells]
    survived = [math.nan if cell.diverged else v for cell, v in zip(group.cells, values, strict=True) if cell.finished]
    noise = noise_scale(group)
    return {
        "label": group.label,
        "value": group.variant,
        "cells": [cell.fingerprint for cell in group.cells],
        "states": [cell.status.state for cell in group.cells],
        "begun": [cell.begun for cell in group.cells],
        "values": values,
        "diverged": [cell.diverged for cell in group.cells],
        "why": [cell.status.why if cell.diverged else "" for cell in group.cells],
        "mean": asdict(mean_interval(survived)),
        "parameters": whole[0].run["parameters"] if whole else None,
        "training_flops_per_token": whole[0].run["training_flops_per_token"] if whole else None,
        "secondary": {name: _secondary(group, name) for name in SECONDARY},
        **profiles(group),
        **({} if noise is None else {"noise_scale": noise}),
    }


def _secondary(group: Group, name: str) -> dict[str, Any]:
    """A secondary scalar of every seed, and its mean over the runs that did not diverge."""
    unit, description = SECONDARY[name]
    values = [cell.secondary[name] if cell.finished else math.nan for cell in group.cells]
    survived = [v for cell, v in zip(group.cells, values, strict=True) if cell in group.survivors]
    return {"unit": unit, "description": description, "values": values, "mean": asdict(mean_interval(survived))}


def _secondary_differences(a: Group, b: Group) -> dict[str, Any]:
    """Paired differences of the secondary scalars over the seeds that survived in both variants; not corrected."""
    pairs = [(x, y) for x, y in zip(a.cells, b.cells, strict=True) if x in a.survivors and y in b.survivors]
    found = {}
    for name in SECONDARY:
        contrast = paired_contrast([x.secondary[name] for x, _ in pairs], [y.secondary[name] for _, y in pairs], None)
        found[name] = {"n": contrast.n, "mean": contrast.mean_difference, "low": contrast.low, "high": contrast.high}
    return found


def _data(finished: Sequence[CellRecord], data_sha256: str) -> dict[str, Any]:
    return {"sha256": data_sha256, **(finished[0].run["data"] if finished else {})}


def _distinct(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    distinct = {canonical(item): dict(item) for item in items}
    return [distinct[key] for key in sorted(distinct)]
