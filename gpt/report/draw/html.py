"""Everything that the script of the interactive page draws, gathered from a study's records; pure, plain JSON."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gpt.analysis.collect import BlockResults, Results
from gpt.records.formatting import decimals, fixed, interval, signed
from gpt.records.schema import even_entropy
from gpt.report.draw.png import color
from gpt.report.figures import page_probes, page_series
from gpt.report.figures.gradients import left_out
from gpt.report.figures.page_captions import captions, sensitivity
from gpt.report.figures.page_series import Json

SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
"""plotly's names of the markers of `gpt.report.draw.png`"""


@dataclass(frozen=True)
class PageData:
    """What a page's script reads."""

    figures: Json
    """everything that is drawn but the heatmaps' weights"""
    weights: bytes
    """those, see `page_probes.heatmaps`"""


def page_data(results: Results, findings: Mapping[str, Any]) -> PageData:
    """The data of all figures, block by block.

    Args:
        findings: as findings.json has them.
    """
    study, weights = findings["study"], page_probes.Weights()
    context = results.study.base.model.context
    figures = {
        "study": {
            "name": study["name"],
            "factor": study["factor"],
            "metric": study["metric"],
            "smallest_effect": study["smallest_effect"],
            "places": decimals(study["smallest_effect"]),
            "context": context,
            "even_entropy": even_entropy(context),
        },
        "seeds": list(results.study.seeds),
        "variants": [
            {"label": group.label, "color": color(i), "symbol": SYMBOLS[i % len(SYMBOLS)]}
            for i, group in enumerate(results.blocks[0].groups)
        ],
        "axis": _axis(results),
        "sensitivity": sensitivity(findings, block_names(results)),
        "blocks": [
            _block(results, block, found, study, weights)
            for block, found in zip(results.blocks, findings["blocks"], strict=True)
        ],
    }
    return PageData(figures, bytes(weights.bytes))


def block_names(results: Results) -> list[str]:
    """What each block is called where there must be a name."""
    return [block.label or "all runs" for block in results.blocks]


def _axis(results: Results) -> Json:
    """Where the blocks lie on an axis: at the numbers of the one field that differs between them, else in a row."""
    varied = results.study.varied
    values = next(iter(varied.values())) if len(varied) == 1 else ()
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if numbers and len(numbers) == len(values):
        return {"title": next(iter(varied)), "values": numbers, "log": min(numbers) > 0}
    return {"title": "", "values": block_names(results), "log": None}


def _block(
    results: Results,
    block: BlockResults,
    found: Mapping[str, Any],
    study: Mapping[str, Any],
    weights: page_probes.Weights,
) -> Json:
    seeds, groups = results.study.seeds, sum(len(each.groups) for each in results.blocks)
    data = {
        "label": block.label,
        "variants": [
            {
                "runs": group.shown_runs,
                **{key: shown[key] for key in ("values", "states", "diverged", "mean")},
            }
            for group, shown in zip(block.groups, found["variants"], strict=True)
        ],
        "contrasts": [_contrast(results, contrast) for contrast in found.get("contrasts", [])],
        "components": found.get("components"),
        "loss": page_series.loss(block, seeds),
        "gradients": page_series.gradients(block),
        "left_out": left_out(block),
        "quantiles": page_series.quantiles(found),
        "clipping": page_series.clipping(block),
        "updates": page_probes.updates(block),
        "activations": page_probes.activations(block),
        "attention": page_probes.attention(block),
        "collapses": page_probes.collapses(block, seeds),
        "heatmaps": page_probes.heatmaps(block, seeds, weights, page_probes.heatmap_steps(groups)),
        "long_range": page_probes.long_range(block),
        "samples": _samples(block),
        "depth": next((cell.run["layers"] for g in block.groups for cell in g.shown), []),
    }
    return {**data, "captions": captions(data, found, study, results.study.base)}


def _contrast(results: Results, contrast: Mapping[str, Any]) -> Json:
    """A contrast with its numbers as the tables write them."""
    labels = [group.label for group in results.blocks[0].groups]
    places, paired = decimals(contrast["smallest_effect"]), contrast["paired"]
    ends = interval(paired["low"], paired["high"], places)
    size = f"{signed(paired['mean_difference'], places)} {ends}".removesuffix(" -")
    return {
        "variant": labels.index(contrast["b"]),
        "a": contrast["a"],
        "b": contrast["b"],
        "seeds": contrast["seeds"],
        "differences": paired["differences"],
        "mean": paired["mean_difference"],
        "low": paired["low"],
        "high": paired["high"],
        "among_survivors": contrast["among_survivors"],
        "verdict": contrast["verdict"],
        "size": size if paired["n"] else "",
    }


def _samples(block: BlockResults) -> list[list[str]] | None:
    """By variant and seed, what the best model wrote; empty where nothing."""
    texts = [[cell.sample for cell in group.cells] for group in block.groups]
    return texts if any(any(row) for row in texts) else None


def cell_rows(results: Results, findings: Mapping[str, Any]) -> Iterator[Json]:
    """One row of the table of runs for each planned cell, in words."""
    places = decimals(findings["study"]["smallest_effect"])
    blocks = {id(block): i for i, block in enumerate(results.blocks)}
    for block, group, seed, cell in results.places():
        index = blocks[id(block)]
        variant = block.groups.index(group)
        value = findings["blocks"][index]["variants"][variant]["values"][results.study.seeds.index(seed)]
        kinds = Counter(event["kind"] for event in cell.events)
        yield {
            "block": index,
            "block_label": block.label,
            "variant": variant,
            "label": group.label,
            "seed": seed,
            "state": cell.status.state,
            "value": fixed(value, places) if cell.status.state == "done" else "-",
            "steps": f"{cell.status.step:,} of {cell.status.steps:,}" if cell.status.steps else "-",
            "why": cell.status.why,
            "events": ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in sorted(kinds.items())),
            "fingerprint": cell.fingerprint,
        }
