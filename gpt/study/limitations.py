"""What a study's own numbers say that it cannot carry."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpt.study.collect import Results
from gpt.study.evidence import layouts_of
from gpt.study.words import count


def limitations(results: Results, blocks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences on what could be detected, on how far the runs went, and on what was never varied.

    Args:
        blocks: the blocks of the findings.
    """
    return [*_detectable(blocks), *_unfinished_learning(results), *_layouts(results), *_scope(results, blocks)]


def _detectable(blocks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for block in blocks:
        where = f" at {block['label']}" if block["label"] else ""
        for contrast in block["contrasts"]:
            paired = contrast["paired"]
            size = paired["minimum_detectable_difference"]
            if math.isfinite(size):
                yield (
                    f"`{contrast['b']}` against `{contrast['a']}`{where}: with {count(paired['n'], 'pair')} and the "
                    f"observed spread, a true difference of {size:.2g} is found with a power of 80 % (before "
                    f"correction); smaller ones are mostly missed."
                )


def _unfinished_learning(results: Results) -> Iterator[str]:
    survivors = {cell.fingerprint: cell for b in results.blocks for group in b.groups for cell in group.survivors}
    still = sum(cell.secondary["best_step"] == cell.status.steps for cell in survivors.values())
    if still:
        yield (
            f"{still} of {count(len(survivors), 'run')} had the lowest validation loss at the very last step: they "
            f"were still learning, so this compares training as far as it went, not where it would end."
        )


def _layouts(results: Results) -> Iterator[str]:
    layouts = layouts_of([cell for _, _, _, cell in results.places() if cell.finished])
    if len(layouts) > 1:
        yield (
            f"The runs were computed in {len(layouts)} layouts (engine, ranks, micro-batches, seeds together), which "
            f"round differently; `How it was made` lists them."
        )


def _scope(results: Results, blocks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    study, base = results.study, results.study.base
    parameters = sorted({v["parameters"] for block in blocks for v in block["variants"] if v["parameters"]})
    size = " to ".join(f"{p:,}" for p in [*parameters[:1], *parameters[1:][-1:]])
    seen = base.train.steps * base.train.batch_size * base.model.context
    yield (
        f"One text and one model{f' ({size} parameters)' if size else ''}, {count(base.train.steps, 'step')}, "
        f"{seen:,} characters read in training: nothing here says what happens at another scale or on other data."
    )
    if study.factor != "optim.lr" and "optim.lr" not in study.blocks:
        yield (
            f"One learning rate (`optim.lr = {base.optim.lr:g}`) for all variants: a variant that would need another "
            f"is judged at this one. To compare the variants at several, name them under `blocks`."
        )
    if study.metric.startswith("val/"):
        yield "The metric is read off the split that every evaluation uses; there is no third, untouched one."
    yield "A seed changes initial weights, batch order and dropout together; the text and its split stay the same."
