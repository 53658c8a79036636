"""What a study of seeds found, in sentences: how much of the variance between runs is whose."""

from collections.abc import Mapping

from gpt.analysis.findings import Findings, SettingFindings, StudyFindings
from gpt.analysis.spread_findings import Source, SpreadFindings
from gpt.analysis.statistics.contrasts import ALPHA
from gpt.analysis.statistics.variance import Component, Components
from gpt.records.formatting import count, fixed, p_text

NOT_DECOMPOSED = "not decomposed"


def decomposed(findings: Findings) -> list[tuple[SettingFindings, SpreadFindings]]:
    """The settings whose variance was to be decomposed, and what came of it; none in a study of contrasts."""
    return [(setting, setting.components) for setting in findings.settings if setting.components]


def source_names(study: StudyFindings, setting: SettingFindings) -> dict[Source, str]:
    """What each source is called: with dropout, the seed of the initial weights draws that too."""
    dropout = study.config(setting, setting.variants[0])["model.dropout"]
    return {
        "init": "initial weights and dropout" if dropout else "initial weights",
        "order": "data order",
        "residual": "residual",
    }


def spread_verdict(spreads: SpreadFindings) -> str:
    """Which of the two seeds' effects is distinguishable from chance; two tests, not corrected."""
    if spreads.split is None:
        return NOT_DECOMPOSED
    clear = [component.p <= ALPHA for component in (spreads.split.init, spreads.split.order)]
    if all(clear):
        return "both seeds matter"
    if any(clear):
        return f"only {'the initial weights' if clear[0] else 'the data order'} distinguishable from chance"
    return "neither seed distinguishable from chance"


def spread_sentences(study: StudyFindings, setting: SettingFindings, spreads: SpreadFindings) -> list[str]:
    """Where the variance comes from, and what pairing by seed can be worth; or why it was not decomposed."""
    at = f"At {setting.label}: " if setting.label else ""
    if spreads.split is None:
        return [at + _not_whole(setting, spreads)]
    names = source_names(study, setting)
    return [at + _where_from(study, spreads.split, names, spreads.finished), _sharing(study, spreads, spreads.split)]


def _not_whole(setting: SettingFindings, spreads: SpreadFindings) -> str:
    planned = count(spreads.planned, "run")
    if not spreads.failed:
        return f"{spreads.finished} of {planned} have finished; the variance is decomposed when all have."
    by_order = [variant.failed for variant in setting.variants]
    by_seed = list(zip(*by_order, strict=True))
    return (
        f"{spreads.failed} of {planned} failed, with {sum(map(any, by_seed))} of "
        f"{count(len(by_seed), 'initialisation seed')} and {sum(map(any, by_order))} of "
        f"{count(len(by_order), 'order seed')}. A spread of the others would leave out the worst runs, so none is "
        f"given."
    )


def _where_from(study: StudyFindings, split: Components, names: Mapping[Source, str], runs: int) -> str:
    places, name, unit = study.places, study.metric.title, study.metric.unit
    if split.run.sd == 0:
        return f"The {name} does not vary: all {runs} runs have {fixed(split.mean, places)} {unit}."
    init, order = (
        f"from {called} ({_interval(component)}, F test p {p_text(component.p)})"
        for component, called in ((split.init, names["init"]), (split.order, f"the {names['order']}"))
    )
    spread = split.run
    return (
        f"{_share(split.init)} of the variance of the {name} between runs comes {init}, {_share(split.order)} {order} "
        f"and {_share(split.residual)} is residual, which belongs to a pair of seeds and to neither alone "
        f"({_interval(split.residual)}). One run lies about the mean of {fixed(split.mean, places)} with a standard "
        f"deviation of {fixed(spread.sd, places)} {unit} (95 % interval {fixed(spread.low, places)} to "
        f"{fixed(spread.high, places)}); none of the {runs} runs failed."
    )


def _sharing(study: StudyFindings, spreads: SpreadFindings, split: Components) -> str:
    """What pairing by seed can be worth to a comparison of two variants."""
    if split.run.sd == 0:
        return "With no spread there is nothing that sharing seeds could take away."
    places = study.places
    sds = {shared: fixed(spread.sd, places) for shared, spread in split.differences.items()}
    saved = 1 - split.differences["both"].sd / split.differences["nothing"].sd
    fewer, more = pairs_text(spreads.pairs["both"].sd), pairs_text(spreads.pairs["nothing"].sd)
    clear = sum(component.p <= ALPHA for component in (split.init, split.order))
    doubt = (
        "; but neither seed's effect is distinguishable from chance here",
        "; but only one seed's effect is distinguishable from chance",
        "",
    )
    return (
        f"Two runs of variants that share no seed differ by chance with a standard deviation of {sds['nothing']} "
        f"{study.metric.unit}; where a seed does the same to both, sharing the initial weights brings that to "
        f"{sds['init']}, the data order to {sds['order']} and both to {sds['both']}, which is {100 * saved:.0f} % "
        f"less: to find a difference of {study.smallest_effect:g} with a power of 80 % then takes {fewer} instead of "
        f"{more}{doubt[clear]}. Where a seed does something else in each variant, sharing it changes nothing."
    )


def pairs_text(pairs: int | None) -> str:
    return "more than 10,000 pairs" if pairs is None else count(pairs, "pair")


def _share(component: Component) -> str:
    return f"{100 * component.share:.0f} %"


def _interval(component: Component) -> str:
    return f"95 % interval {100 * component.share_low:.0f} to {100 * component.share_high:.0f} %"
