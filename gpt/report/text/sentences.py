"""A verdict in one plain sentence, made from the numbers."""

import math

from gpt.analysis.contrast_findings import ContrastFindings
from gpt.analysis.findings import MetricFindings
from gpt.analysis.statistics.contrasts import ALPHA
from gpt.analysis.statistics.paired import PairedContrast
from gpt.records.formatting import count, fixed, interval, p_text, signed

NO_PAIR = "no pair yet"
"""in place of a verdict where no seed has finished in both variants"""


def sentence(contrast: ContrastFindings, metric: MetricFindings) -> str:
    """The finding in one sentence: direction, size, interval, corrected p, n, failures, and whether it matters."""
    setting = f"At {contrast.setting}: " if contrast.setting else ""
    if not contrast.seeds:
        return f"{setting}No seed has finished with both `{contrast.a}` and `{contrast.b}`, so nothing can be compared."
    whole = len(contrast.seeds)
    partial = f"Incomplete, {whole} of {count(contrast.planned, 'pair')}: " if whole < contrast.planned else ""
    finding = _by_rank if contrast.among_survivors else _by_difference
    return setting + partial + finding(contrast, metric)


def size(contrast: ContrastFindings) -> str:
    """`+0.0123 [+0.0110, +0.0145]`; empty where no pair has both values."""
    paired, places = contrast.paired, contrast.places
    if not paired.n:
        return ""
    return f"{signed(paired.mean_difference, places)} {interval(paired.low, paired.high, places)}".removesuffix(" -")


def _by_difference(contrast: ContrastFindings, metric: MetricFindings) -> str:
    paired = contrast.paired
    places, matters = contrast.places, f"{contrast.smallest_effect:g}"
    size = _change(paired.mean_difference, places, metric.unit)
    better = _better(metric, paired.mean_difference, places) if contrast.verdict.startswith("different") else ""
    change = f"with `{contrast.b}` the {metric.title} is {size}{better}"
    than = "as with" if _same(paired.mean_difference, places) else "than with"
    tests = f"({_evidence(contrast, places)})"
    runs = _failed(contrast, metric) or f"none of the {2 * paired.n} runs failed"
    small = (
        f"smaller than the smallest difference that matters, {matters} "
        f"(two one-sided tests, p {p_text(paired.p_equivalence)})"
    )
    if contrast.verdict == "different":
        against = _against_smallest(paired, contrast.smallest_effect)
        return f"{_upper(change)} {than} `{contrast.a}` {tests}; {against}; {runs}."
    if contrast.verdict == "different but smaller than matters":
        return f"{_upper(change)} {than} `{contrast.a}` {tests}, but that is {small}; {runs}."
    if contrast.verdict == "equivalent":
        same = f"`{contrast.b}` and `{contrast.a}` are equivalent for practical purposes"
        return f"{same}: {change} {tests}, {small}; {runs}."
    unsettled = f"Whether `{contrast.b}` differs from `{contrast.a}` is not settled"
    return f"{unsettled}: {change} {tests}; {runs}{_why_unsettled(contrast)}."


def _failed(contrast: ContrastFindings, metric: MetricFindings) -> str:
    """How many runs failed and what they count as; beside it the comparisons that need no score. Empty of none."""
    failures, rank, alone, places = contrast.failures, contrast.rank, contrast.survivors, contrast.places
    if alone is None:
        return ""
    rates = (
        f"`{contrast.b}` failed in {failures.failed_b} of {count(failures.n, 'run')}, `{contrast.a}` in "
        f"{failures.failed_a} (McNemar's exact p {p_text(failures.p_paired)}), each counted as {metric.title} "
        f"{fixed(contrast.failed_score, places)}"
    )
    seeds = f"`{contrast.b}` is better in {count(rank.wins, 'seed')} and worse in {rank.losses}"
    survivors = "no seed trained in both"
    if alone.n:
        size = _change(alone.mean_difference, places, metric.unit)
        survivors = f"in the {count(alone.n, 'pair')} that trained it is {size} ({_interval(alone, places)})"
    return f"{rates}; {seeds} (sign test p {p_text(rank.p_sign)}); {survivors}"


def _by_rank(contrast: ContrastFindings, metric: MetricFindings) -> str:
    rank, rates, paired = contrast.rank, contrast.failures, contrast.paired
    ahead, behind, wins = contrast.b, contrast.a, rank.wins
    if rank.losses > rank.wins:
        ahead, behind, wins = contrast.a, contrast.b, rank.losses
    tests = f"sign test, corrected p {p_text(contrast.p_adjusted)}, n = {count(rank.n, 'seed pair')}"
    if rank.wins == rank.losses:
        led = f"Neither `{ahead}` nor `{behind}` does better in more seeds ({tests})"
    else:
        led = f"`{ahead}` does better than `{behind}` in {wins} of {rank.n} seeds ({tests})"
    if contrast.verdict == "inconclusive":
        led = f"Whether `{contrast.b}` differs from `{contrast.a}` is not settled: {led[0].lower()}{led[1:]}"
    failed = (
        f"a failed run counts as the worst, and `{contrast.b}` failed in {rates.failed_b} of {rates.n} runs, "
        f"`{contrast.a}` in {rates.failed_a} of {rates.n} (McNemar's exact p {p_text(rates.p_paired)}, not corrected)"
    )
    if paired.n == 0:
        survivors = "no seed survived in both, so no size can be given"
    else:
        places = contrast.places
        size = _change(paired.mean_difference, places, metric.unit)
        alone = f"among survivors alone, {count(paired.n, 'pair')}"
        words = f"the {metric.title} with `{contrast.b}` is {size}"
        survivors = f"{alone}, {words} ({_interval(paired, places)})"
    return f"{led}; {failed}; {survivors}{_too_few(contrast) if contrast.verdict == 'inconclusive' else ''}."


def _same(difference: float, places: int) -> bool:
    """Whether nothing of a difference is left at these decimals."""
    return float(fixed(difference, places)) == 0


def _change(difference: float, places: int, unit: str) -> str:
    """`0.0123 nats per character lower`."""
    if _same(difference, places):
        return f"the same to {count(places, 'decimal')}"
    return f"{fixed(abs(difference), places)} {unit} {_direction(difference)}"


def _direction(difference: float) -> str:
    return "lower" if difference < 0 else "higher"


def _better(metric: MetricFindings, difference: float, places: int) -> str:
    """Which of the two is better; nothing of a difference that is not shown."""
    if metric.lower_is_better is None or _same(difference, places):
        return ""
    return " (better)" if (difference < 0) == metric.lower_is_better else " (worse)"


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


def _interval(paired: PairedContrast, places: int) -> str:
    """`95 % interval 0.0110 to 0.0145 lower`."""
    if not math.isfinite(paired.low):
        return "one pair gives no interval"
    low, high = fixed(abs(paired.low), places), fixed(abs(paired.high), places)
    if paired.low < 0 < paired.high:
        return f"95 % interval {low} lower to {high} higher"
    near, far = sorted((low, high), key=float)
    return f"95 % interval {near} to {far}" + (f" {_direction(paired.low + paired.high)}" if float(far) else "")


def _evidence(contrast: ContrastFindings, places: int) -> str:
    paired = contrast.paired
    return f"{_interval(paired, places)}, n = {count(paired.n, 'seed pair')}, corrected p {p_text(contrast.p_adjusted)}"


def _against_smallest(paired: PairedContrast, smallest_effect: float) -> str:
    near, far = sorted((abs(paired.low), abs(paired.high)))
    matters = f"the smallest difference that matters, {smallest_effect:g}"
    if paired.low < 0 < paired.high:
        return "the interval includes zero although the test, which assumes no normal distribution, rules it out"
    if paired.low * paired.high > 0 and near > smallest_effect:
        return f"the whole interval lies beyond {matters}"
    if far < smallest_effect:
        return f"the whole interval lies within {matters}"
    return f"the interval does not settle whether the difference exceeds {matters}"


def _why_unsettled(contrast: ContrastFindings) -> str:
    """What a reader of an inconclusive contrast must not conclude, and what would help."""
    paired = contrast.paired
    reasons = []
    if not math.isfinite(paired.low):
        reasons.append("at least two pairs are needed to judge a difference")
    elif paired.low > 0 or paired.high < 0:
        reasons.append("the interval, which is not corrected, leaves out zero, but the corrected test does not")
    elif max(abs(paired.low), abs(paired.high)) >= contrast.smallest_effect:
        reasons.append(f"a difference as large as matters ({contrast.smallest_effect:g}) is not ruled out")
    return "".join(f"; {reason}" for reason in reasons) + _too_few(contrast)


def _too_few(contrast: ContrastFindings) -> str:
    """That no outcome could have been significant, where that is so."""
    smallest = contrast.smallest_p
    if smallest * contrast.family <= ALPHA:
        return ""
    correction = f", before correction for {contrast.family} contrasts" if contrast.family > 1 else ""
    tied = f", {contrast.rank.ties} of them tied," if contrast.rank.ties else ""
    pairs = count(len(contrast.seeds), "pair")
    return f"; {pairs}{tied} cannot give a p below {smallest:.3g}{correction}: a new study needs more seeds"
