"""What the pages and the terminal say of a study that decomposes the variance between runs; see
`gpt.analysis.seed_variance`.
"""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence

from gpt.analysis.findings import Findings, StudyFindings
from gpt.analysis.seed_variance import SHARED, SOURCES
from gpt.analysis.spread_findings import Source, SpreadFindings
from gpt.analysis.statistics.contrasts import ALPHA
from gpt.analysis.statistics.variance import Component, Components, Spread
from gpt.records.catalogue import Entry
from gpt.records.formatting import MISSING, count, fixed, p_run, short
from gpt.report.pages.markup import progress_note, table
from gpt.report.text.seed_variance import decomposed, source_names, spread_sentences

HEADER = ("source", "share", "95 % interval", "sd", "95 % interval", "variance", "F", "p", "df")
SUMMARY = ("study", "runs", "failed", "initial weights", "data order", "residual", "sd of one run")
SHARED_SEED = {"init": "initial weights", "order": "data order"}


def crossed_section(findings: Findings) -> list[str]:
    """Components, what sharing seeds can be worth, and other recorded numbers; nothing for other studies."""
    settings = decomposed(findings)
    if not settings:
        return []
    study = findings.study
    lines = ["## Where the spread comes from"]
    for setting, spreads in settings:
        if setting.label:
            lines += ["", f"### {setting.label}"]
        names = source_names(study, setting)
        if spreads.split is None:
            lines += ["", *spread_sentences(study, setting, spreads)]
            continue
        lines += [
            "",
            *_components(spreads.split, names, study.places),
            "",
            *_sharing(spreads.split, spreads, study),
            "",
            *_others(findings.secondary, spreads, names),
        ]
    return [*lines, "", *_notes(study)]


def crossed_table(studies: Sequence[Findings], report: Callable[[str], str]) -> list[str]:
    """One row for each setting of the studies that decompose variance; nothing where there are none."""
    rows, units = [], set()
    for findings in studies:
        name = findings.study.name
        for setting, spreads in decomposed(findings):
            at = f", {setting.label}" if setting.label else ""
            rows.append([f"[{name}]({report(name)}){at}", *_summary(findings.study, spreads)])
            units.add(findings.study.metric.unit)
    if not rows:
        return []
    note = (
        f"Shares of the variance between runs that differ in nothing but seeds, with 95 % intervals; sd in "
        f"{' or '.join(sorted(units))}."
    )
    return [*table(SUMMARY, rows), "", note]


def crossed_terminal(studies: Sequence[Findings], width: int) -> list[str]:
    """The same for a terminal, in the sentences of each setting."""
    lines = []
    for findings in studies:
        settings = decomposed(findings)
        if settings:
            progress = progress_note(findings)
            lines += textwrap.wrap(f"{findings.study.name}{progress}: {findings.study.question}", width)
        for setting, spreads in settings:
            for sentence in spread_sentences(findings.study, setting, spreads):
                lines += textwrap.wrap(sentence, width, initial_indent="  ", subsequent_indent="  ")
    return lines


def _summary(study: StudyFindings, spreads: SpreadFindings) -> list[str]:
    places, split = study.places, spreads.split
    runs = str(spreads.finished)
    if spreads.finished < spreads.planned:
        runs += f" of {spreads.planned}"
    start = [runs, str(spreads.failed)]
    if split is None:
        return [*start, *[MISSING] * 4]
    shares = [f"{share(getattr(split, source))} {share_interval(getattr(split, source))}" for source in SOURCES]
    return [*start, *shares, f"{fixed(split.run.sd, places)} {sd_interval(split.run, places)}"]


def share(component: Component) -> str:
    return MISSING if math.isnan(component.share) else f"{100 * component.share:.0f} %"


def told_share(component: Component) -> str:
    """The share, or that none can be told: the estimate is then chance, and only the interval's upper end says much."""
    return "cannot be told" if component.p > ALPHA else share(component)


def share_interval(component: Component) -> str:
    if math.isnan(component.share_low):
        return MISSING
    return f"[{100 * component.share_low:.0f}, {100 * component.share_high:.0f}]"


def sd_interval(spread: Spread, places: int) -> str:
    return f"[{fixed(spread.low, places)}, {fixed(spread.high, places)}]"


def _components(split: Components, words: Mapping[Source, str], places: int) -> list[str]:
    rows = []
    for source in SOURCES:
        part: Component = getattr(split, source)
        rows.append([
            words[source], told_share(part), share_interval(part), fixed(part.spread.sd, places),
            sd_interval(part.spread, places), short(part.estimate), short(part.f),
            p_run(part.p), str(part.df),
        ])  # fmt: skip
    run = split.run
    whole = ["one run", "100 %", "", fixed(run.sd, places), sd_interval(run, places), short(run.sd**2)]
    return table(HEADER, [*rows, [*whole, "", "", ""]])


def _sharing(split: Components, spreads: SpreadFindings, study: StudyFindings) -> list[str]:
    places = study.places
    header = ("two variants share", "sd of a difference", "95 % interval", f"pairs for {study.smallest_effect:g}",
              "95 % interval")  # fmt: skip
    rows = []
    for shared in SHARED:
        spread, pairs = split.differences[shared], spreads.pairs[shared]
        ends = f"[{_pairs(pairs.low)}, {_pairs(pairs.high)}]"
        rows.append(
            [
                SHARED_SEED.get(shared, shared),
                fixed(spread.sd, places),
                sd_interval(spread, places),
                _pairs(pairs.sd),
                ends,
            ]
        )
    return table(header, rows)


def _pairs(pairs: int | None) -> str:
    return "> 10,000" if pairs is None else f"{pairs:,}"


def _others(entries: Sequence[Entry], spreads: SpreadFindings, names: Mapping[Source, str]) -> list[str]:
    header = ("other recorded numbers", "mean", *(f"sd: {names[source]}" for source in SOURCES))
    rows = [
        [f"{entry.meaning} ({entry.unit})", short(each.mean), *(short(each.sds[s]) for s in SOURCES)]
        for entry in entries
        if (each := spreads.secondary.get(entry.name))
    ]
    return table(header, rows) if rows else []


def _notes(study: StudyFindings) -> list[str]:
    metric = study.metric
    return [
        f"- **Metric**, named before the run: {metric.title} (`{metric.name}`: {metric.meaning}), in "
        f"{metric.unit}. Each of {count(len(study.seeds), 'initialisation seed')} ran with each of "
        f"{count(len(study.variants), 'order seed')}, once, for a run with the same two seeds has the same bits.",
        "- **share**, **sd**, **variance**: two-way random effects without replication, estimated by the analysis of "
        "variance. The variance is unbiased, so that chance can make it negative where the truth is small; share and "
        "sd then count it as 0. A share *cannot be told* where the F test does not tell the source from none: there "
        "the interval alone says how much it may be. Intervals are generalized confidence intervals (Weerahandi 1993; "
        "Hannig, Iyer and Patterson 2006). **F**, **p**: exact test that a source adds nothing; not corrected for "
        "there being two.",
        "- **residual** is what a pair of seeds does that neither seed does alone. **one run**: a run with two new "
        "seeds, about the mean over all seeds.",
        "- **sd of a difference**: between one run of either variant where neither variant is better, if what a shared "
        "seed does cancels in full and all else is new. It is the most that sharing can do; a seed that does something "
        f"else in each variant cancels nothing. **pairs for {study.smallest_effect:g}**: how many find a true "
        "difference of that size, the smallest that matters, with a power of 80 % (paired t test at 0.05; never fewer "
        "than the exact sign-flip test needs).",
    ]
