"""What a study's own numbers say that it cannot carry."""

import math
from collections.abc import Iterator, Sequence

from gpt.analysis.collect import Results
from gpt.analysis.controls import layouts_of
from gpt.analysis.findings import SettingFindings
from gpt.analysis.statistics.variance import sd_factors
from gpt.records.formatting import count


def limitations(results: Results, settings: Sequence[SettingFindings]) -> list[str]:
    """Sentences on what could be detected, on how far the runs went, and on what was never varied.

    Args:
        settings: the settings of the findings.
    """
    return [
        *_detectable(settings),
        *_components(results),
        *_unfinished_learning(results),
        *_layouts(results),
        *_scope(results, settings),
    ]


def _detectable(settings: Sequence[SettingFindings]) -> Iterator[str]:
    for setting in settings:
        where = f" at {setting.label}" if setting.label else ""
        for contrast in setting.contrasts:
            paired = contrast.paired
            size = paired.minimum_detectable_difference
            if math.isfinite(size):
                yield (
                    f"`{contrast.b}` against `{contrast.a}`{where}: with {count(paired.n, 'pair')} and the "
                    f"observed spread, a true difference of {size:.2g} is found with a power of 80 % (before "
                    f"correction); smaller ones are mostly missed."
                )


def _components(results: Results) -> Iterator[str]:
    study = results.study
    if study.kind == "contrasts":
        return
    seeds, orders = len(study.seeds), len(study.variants)
    yield (
        f"{count(seeds, 'initialisation seed')} and {count(orders, 'order seed')} tell little about a variance: were "
        f"there nothing else, the standard deviation of the first would be known to within factors of "
        f"{_factors(seeds - 1)}, of the second {_factors(orders - 1)}, and of the rest, which they share, "
        f"{_factors((seeds - 1) * (orders - 1))}. The intervals hold if effects are normal; estimates do not need that."
    )
    yield (
        "A run with the same two seeds has the same bits, so the rest holds no noise of measurement: it is what a pair "
        "of seeds does that neither does alone. How much of what a seed does carries over from one variant to another "
        "is not measured here; the pair correlations of other studies show it."
    )


def _factors(df: int) -> str:
    low, high = sd_factors(df)
    return f"{low:.2f} to {high:.2f}"


def _unfinished_learning(results: Results) -> Iterator[str]:
    survivors = {run.fingerprint: run for b in results.settings for group in b.groups for run in group.survivors}
    still = sum(run.secondary["best_step"] == run.status.steps for run in survivors.values())
    if still:
        yield (
            f"{still} of {count(len(survivors), 'run')} had the lowest validation loss at the very last step: they "
            f"were still learning, so this compares training as far as it went, not where it would end."
        )


def _layouts(results: Results) -> Iterator[str]:
    layouts = layouts_of([run for _, _, _, run in results.places() if run.finished])
    if len(layouts) > 1:
        yield (
            f"The runs were computed in {len(layouts)} layouts (engine, ranks, micro-batches, seeds together), which "
            f"round differently; `How it was made` lists them."
        )


def _scope(results: Results, settings: Sequence[SettingFindings]) -> Iterator[str]:
    study, base = results.study, results.study.base
    parameters = sorted({v.parameters for setting in settings for v in setting.variants if v.parameters})
    size = " to ".join(f"{p:,}" for p in [*parameters[:1], *parameters[1:][-1:]])
    seen = base.train.steps * base.train.batch_size * base.model.context
    yield (
        f"One text and one model{f' ({size} parameters)' if size else ''}, {count(base.train.steps, 'step')}, "
        f"{seen:,} characters read in training: nothing here says what happens at another scale or on other data."
    )
    if study.kind == "components":
        yield "One set of choices in each setting: another learning rate or architecture may spread its runs otherwise."
    elif study.factor != "optim.lr" and "optim.lr" not in study.settings:
        yield (
            f"One learning rate (`optim.lr = {base.optim.lr:g}`) for all variants: a variant that would need another "
            f"is corrected at this one. To compare the variants at several, name them under `settings`."
        )
    if study.metric.startswith("val/"):
        yield "The metric is read off the split that every evaluation uses; there is no third, untouched one."
    if study.kind == "components":
        yield "`seed` changes initial weights and dropout, the factor the batches; text and split stay the same."
    else:
        changes = (
            "initial weights, batch order and dropout" if base.model.dropout else "initial weights and batch order"
        )
        yield f"A seed changes {changes} together; the text and its split stay the same."
