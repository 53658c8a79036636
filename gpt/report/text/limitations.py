"""What a study's own numbers say that it cannot carry."""

import math
from collections.abc import Iterable, Iterator

from gpt.analysis.findings import Findings
from gpt.analysis.statistics.variance import sd_factors
from gpt.records.formatting import count


def limitations(findings: Findings) -> list[str]:
    """Sentences on what could be detected, on how far the runs went, and on what was never varied."""
    parts = (_detectable, _components, _unfinished_learning, _layouts, _scope)
    return [sentence for part in parts for sentence in part(findings)]


def _detectable(findings: Findings) -> Iterator[str]:
    for contrast in findings.contrasts:
        size = contrast.paired.minimum_detectable_difference
        if math.isfinite(size):
            yield (
                f"`{contrast.b}` against `{contrast.a}`{contrast.at}: with {count(contrast.paired.n, 'pair')} and the "
                f"observed spread, a true difference of {size:.2g} is found with a power of 80 % (before correction); "
                f"smaller ones are mostly missed."
            )


def _components(findings: Findings) -> Iterator[str]:
    study = findings.study
    if study.kind == "contrasts":
        return
    seeds, orders = len(study.seeds), len(study.variants)
    yield (
        f"{count(seeds, 'initialisation seed')} and {count(orders, 'order seed')} tell little about a variance: were "
        f"there nothing else, the standard deviation of the first would be known to within factors of "
        f"{_factors(seeds - 1)}, of the second {_factors(orders - 1)}, and of the residual, which they share, "
        f"{_factors((seeds - 1) * (orders - 1))}. The intervals hold if effects are normal; estimates do not need that."
    )
    yield (
        "A run with the same two seeds has the same bits, so the residual holds no noise of measurement: it is what a "
        "pair of seeds does that neither does alone. How much of what a seed does carries over from one variant to "
        "another is not measured here; the pair correlations of other studies show it."
    )


def _factors(df: int) -> str:
    low, high = sd_factors(df)
    return f"{low:.2f} to {high:.2f}"


def _unfinished_learning(findings: Findings) -> Iterator[str]:
    learning = {
        run: best_step == findings.study.config(setting, variant)["train.steps"]
        for setting in findings.settings
        for variant in setting.variants
        for run, state, best_step in zip(
            variant.runs, variant.states, variant.secondary["best_step"].values, strict=True
        )
        if state == "done"
    }
    if still := sum(learning.values()):
        yield (
            f"{still} of {count(len(learning), 'run')} had the lowest validation loss at the very last step: they were "
            f"still learning, so this compares training as far as it went, not where it would end."
        )


def _layouts(findings: Findings) -> Iterator[str]:
    if len(findings.layouts) > 1:
        yield (
            f"The runs were computed in {len(findings.layouts)} layouts (engine, ranks, micro-batches, seeds "
            f"together), which round differently; `How it was made` lists them."
        )


def _scope(findings: Findings) -> Iterator[str]:
    study = findings.study
    configs = [study.config(setting, variant) for setting in findings.settings for variant in setting.variants]
    parameters = [v.parameters for setting in findings.settings for v in setting.variants if v.parameters]
    size = f" ({_range(parameters)} parameters)" if parameters else ""
    steps = [config["train.steps"] for config in configs]
    read = [c["train.steps"] * c["train.batch_size"] * c["model.context"] for c in configs]
    yield (
        f"One text and one model{size}, {_range(steps)} {'step' if {*steps} == {1} else 'steps'}, {_range(read)} "
        f"characters read in training: nothing here says what happens at another scale or on other data."
    )
    rates = {config["optim.lr"] for config in configs}
    if study.kind == "components":
        yield "One set of choices in each setting: another learning rate or architecture may spread its runs otherwise."
    elif len(rates) == 1 and not study.tune:
        yield (
            f"One learning rate (`optim.lr = {rates.pop():g}`) for all variants: a variant that would need another is "
            f"judged at this one. To give each its own best, name rates under `tune`; to compare at several, under "
            f"`settings`."
        )
    if study.metric.name.startswith("val/"):
        yield "The metric is read off the split that every evaluation uses; there is no third, untouched one."
    if study.kind == "components":
        yield "`seed` changes initial weights and dropout, the factor the batches; text and split stay the same."
    else:
        dropout = any(config["model.dropout"] for config in configs)
        changes = "initial weights, batch order and dropout" if dropout else "initial weights and batch order"
        yield f"A seed changes {changes} together; the text and its split stay the same."


def _range(values: Iterable[int]) -> str:
    """`1,000`, or `1,000 to 2,000`."""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
