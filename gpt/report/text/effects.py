"""Main effects, interactions and chosen pairs of cells, in sentences."""

from gpt.analysis.findings import EffectFindings, MetricFindings, StudyFindings
from gpt.analysis.statistics.verdict import Verdict
from gpt.records.formatting import count, interval, listed, p_text, signed
from gpt.report.text.sentences import NO_PAIR
from gpt.study.plan import fields_text

MAIN: dict[Verdict, str] = {
    "different": "makes a difference",
    "different but smaller than matters": "makes a difference, but one smaller than matters",
    "equivalent": "makes no difference that matters",
    "inconclusive": "makes no difference that is settled",
}
TOGETHER: dict[Verdict, str] = {
    "different": "depends on",
    "different but smaller than matters": "depends on, by less than matters,",
    "equivalent": "does not depend, by as much as matters, on",
    "inconclusive": "may or may not depend on",
}
"""what the first factor's effect does with the second"""


def effect_name(effect: EffectFindings) -> str:
    """What is compared with what: `post vs pre, averaged over optim.warmup_steps`."""
    contrast = effect.contrast
    where = [f"averaged over {listed(effect.averaged)}"] if effect.averaged else []
    where += [contrast.setting] if contrast.setting else []
    if effect.kind == "interaction":
        return ", ".join([f"({contrast.b}) - ({contrast.a})", *where])
    return ", ".join([f"{contrast.b} vs {contrast.a}", *where])


def effect_verdict(effect: EffectFindings) -> str:
    return effect.contrast.verdict if effect.contrast.seeds else NO_PAIR


def effect_sentence(effect: EffectFindings, metric: MetricFindings) -> str:
    """The finding: what it is an effect of, its size with interval, corrected p and n."""
    contrast, paired = effect.contrast, effect.contrast.paired
    if not contrast.seeds:
        return f"{effect_name(effect)}: no seed has finished in every cell that it takes."
    places = contrast.places
    ends = interval(paired.low, paired.high, places)
    numbers = (
        f"{signed(paired.mean_difference, places)} {metric.unit} (95 % interval {ends}, "
        f"n = {count(paired.n, 'seed')}, corrected p {p_text(contrast.p_adjusted)})"
    )
    over = f", averaged over {listed([f'`{name}`' for name in effect.averaged])}," if effect.averaged else ""
    lost = contrast.failures.failed_a + contrast.failures.failed_b
    failed = f" In {count(lost, 'sum')} of {2 * len(contrast.seeds)} a run failed." if lost else ""
    if effect.kind == "main":
        name = f"`{effect.factors[0]}`{over} {MAIN[contrast.verdict]}{contrast.at}"
        return f"{name}: {metric.title} of `{contrast.b}` minus that of `{contrast.a}`, {numbers}.{failed}"
    if effect.kind == "interaction":
        first, second = effect.factors
        name = f"The effect of `{first}`{over} {TOGETHER[contrast.verdict]} `{second}`{contrast.at}"
        return f"{name}: its difference, `{contrast.b}` minus `{contrast.a}`, is {numbers}.{failed}"
    return f"`{contrast.b}` minus `{contrast.a}`{contrast.at}: {metric.title} {numbers}.{failed}"


def recipe_texts(study: StudyFindings) -> list[str]:
    """What each recipe sets."""
    return [f"`{name}`: {fields_text(fields)}" for name, fields in study.recipes.items()]


def design_text(study: StudyFindings) -> str:
    """Which factors are crossed; empty where there is one."""
    if not study.factors:
        return ""
    values = {**study.settings, study.factor: study.variants}
    each = [f"`{name}` ({count(len(values[name]), 'value')})" for name in study.factors]
    return (
        f"Every combination of {listed(each)} is trained with the same seeds, so that main effects and interactions "
        "are means of differences within seeds. The first value of each is the one that the others are compared with."
    )
