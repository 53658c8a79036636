"""What a study will do, said before it does it: what differs, how many runs, what they cost, what they can detect."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gpt.analysis.statistics.contrasts import ALPHA
from gpt.analysis.statistics.power import detectable_d_z, power
from gpt.analysis.statistics.sequential import bounds
from gpt.analysis.statistics.sign_flips import fewest_pairs, smallest_p
from gpt.analysis.statistics.variance import detectable_sd, sd_factors, seed_power, square_design
from gpt.config import RunConfig
from gpt.data.batches import consecutive_windows, training_batch
from gpt.data.dataset import Dataset
from gpt.fields import canonical, keys_of
from gpt.model.flops import parameter_count, training_flops_per_token
from gpt.model.gpt import GPT
from gpt.records.formatting import count, lasting, listed
from gpt.runner.corpora import Corpora
from gpt.study.effects import comparisons_of
from gpt.study.plan import PlannedRun, fields_text, label, settings_of
from gpt.study.spec import RECIPE, Kind, Scalar, Study
from gpt.study.tuning import MOST_EXTENSIONS, rises
from gpt.train.engines.single_process import SingleProcessEngine

VARIANTS: dict[Kind, str] = {"contrasts": "variants", "components": "order seeds"}
HALF = 0.5
"""the smaller of the effects whose power is said, in standard deviations"""
TIMED_STEPS = 3
"""training steps of each model and batch that the estimate of a study's duration rests on"""


@dataclass(frozen=True)
class VariantSize:
    """What one variant is made of; several numbers where the settings change them, in rising order."""

    variant: str
    sets: dict[str, Scalar]
    """fields, where the variant is a recipe"""
    parameters: list[int]
    training_flops_per_token: list[int]

    def __str__(self) -> str:
        sets = f"{fields_text(self.sets)}; " if self.sets else ""
        size = f"{_span(self.parameters)} parameters, {_span(self.training_flops_per_token)} training FLOPs a token"
        return sets + size


@dataclass(frozen=True)
class PlannedLook:
    """A look that may end the study."""

    pairs: int
    bound_first: float
    """p at or below which a contrast is different, as the first of its family by Holm's method"""
    bound_last: float
    """the same as the last of its family"""
    smallest_p: float
    """that the sign-flip test can give with so many pairs"""
    fewest_pairs: int
    """that a claim of equality takes"""

    def __str__(self) -> str:
        if self.pairs < self.fewest_pairs and self.smallest_p > self.bound_last:
            return f"at {count(self.pairs, 'pair')}: can end nothing"
        if self.smallest_p > self.bound_first:
            can = f"p = {self.smallest_p:.2g} at least, for which it takes {self.bound_first:.2g}"
            return f"at {count(self.pairs, 'pair')}: can tell no contrast different ({can}), but equality"
        return (
            f"at {count(self.pairs, 'pair')}: different at p = {self.bound_first:.2g} as the first contrast, "
            f"{self.bound_last:.2g} as the last"
        )


@dataclass(frozen=True)
class PlannedTuning:
    """What is tried with every variant, in every setting, before they are compared."""

    grid: dict[str, list[Scalar]]
    seeds: list[int]
    trials: int
    """runs on the grid as it is written"""
    most_trials: int
    """with every extension that the grid may have"""
    core_seconds: float
    """as of the whole study, of the trials on the grid as it is written"""

    def __str__(self) -> str:
        points = math.prod(map(len, self.grid.values()))
        grid = "; ".join(f"{field} = {', '.join(map(label, values))}" for field, values in self.grid.items())
        first, last = self.seeds[0], self.seeds[-1]
        more = f", {self.most_trials:,} if every end is extended" if self.most_trials > self.trials else ""
        return (
            f"{grid}: {self.trials} trials{more}; each variant the same {count(points, 'point')} x "
            f"{count(len(self.seeds), 'seed')} ({first if first == last else f'{first} to {last}'})"
        )


@dataclass(frozen=True)
class Preflight:
    """A study as `gpt study check` answers."""

    name: str
    question: str
    kind: Kind
    factor: str
    factors: list[str]
    """all of them, where there are several"""
    sizes: list[VariantSize]
    settings: list[dict[str, Scalar]]
    """each combination of the crossed fields; one without any where nothing is crossed"""
    seeds: list[int]
    fixed_fields: int
    """fields that are the same in all runs"""
    runs: int
    """of the comparison that differ; none is trained twice"""
    core_seconds: float
    """of one CPU core for all steps, evaluations not counted"""
    validation_windows: int
    """of the text that choices read"""
    test_windows: int
    """of the text that verdicts alone read"""
    metric: str
    smallest_effect: float
    contrasts: int
    """comparisons that are corrected for together; 0 where the answer is no difference between variants"""
    smallest_p: float
    """that the sign-flip test can give with one pair for each seed"""
    detectable_d_z: float
    """at a power of 80 %, by the paired t test at 0.05, not corrected"""
    power: dict[str, float]
    """how probably a true effect is found, by its size: a contrast's d_z, as the first step of the correction for their
    number; of a study of seeds, the sd of the initial weights over the residual's"""
    looks: list[PlannedLook]
    """none where the study is judged when every run is done"""
    tuning: PlannedTuning | None
    """None: every variant has the values of the base and the settings"""

    def __str__(self) -> str:
        """A few lines for a person who is about to spend hours on this."""
        lines = [
            f"{self.name}: {self.question}",
            f"  differs     {self.factor} alone: {', '.join(size.variant for size in self.sizes)}{self._crossed()}",
            f"  held fixed  {self.fixed_fields} other fields",
        ]
        if self.kind == "components":  # an order of batches has no size
            lines.append(f"  {'each run':<11} {self.sizes[0]}")
        else:
            lines += [f"  {size.variant:<11} {size}" for size in self.sizes]
        if self.settings[0]:
            lines.append(f"  settings    {'; '.join(map(fields_text, self.settings))}")
        trained = "" if self.tuning is None else f", of it {lasting(self.tuning.core_seconds)} to tune"
        if self.tuning:
            lines.append(f"  tuning      {self.tuning}")
        return "\n".join([
            *lines,
            f"  runs        {self.runs}: {len(self.sizes)} {VARIANTS[self.kind]} x "
            f"{count(len(self.settings), 'setting')} x {len(self.seeds)} seeds",
            f"  cost        about {lasting(self.core_seconds)} of one CPU core{trained} (measured just now over "
            f"{TIMED_STEPS} steps, evaluations not counted)",
            f"  held out    {self._held_out()}",
            f"  metric      {self.metric}; a difference below {self.smallest_effect:g} would not matter",
            *(self._precision() if self.kind == "components" else self._detectable()),
        ])  # fmt: skip

    def _crossed(self) -> str:
        return f" (crossed with {listed(self.factors[1:])}, a factor too)" if self.factors else ""

    def _held_out(self) -> str:
        validation = f"{count(self.validation_windows, 'window')} of validation text"
        if not self.test_windows:
            return f"{validation}, which choices and the verdict both read: there is no test text"
        return f"{validation} for choices, {count(self.test_windows, 'window')} of test text for the verdict alone"

    def _detectable(self) -> list[str]:
        """What the seeds are good for, where the least p that the exact test can give is small enough at all."""
        contrasts, pairs = count(self.contrasts, "contrast"), len(self.seeds)
        if self.smallest_p * self.contrasts > ALPHA:
            needed = ALPHA / self.contrasts
            return [
                f"  can detect  no difference: by sign flips {count(pairs, 'pair')} cannot go below "
                f"p = {self.smallest_p:.2g} and for {contrasts} it takes {needed:.2g} or less, and thus "
                f"{fewest_pairs(needed)} seeds"
            ]
        return [
            f"  can detect  d_z of {self.detectable_d_z:.2f} at 80 % power (paired t test, alpha {ALPHA:g}, before "
            f"correction); the sign-flip test can reach p = {self.smallest_p:.2g}, for {contrasts}",
            f"  power       for a true d_z of {self._powers()} (at {ALPHA / self.contrasts:.2g}, the first step of the "
            f"correction)",
            *(f"  {'looks' if not i else '':<11} {look}" for i, look in enumerate(self.looks)),
        ]

    def _powers(self) -> str:
        return ", ".join(f"{size}: {100 * power:.0f} %" for size, power in self.power.items())

    def _precision(self) -> list[str]:
        """How well a table of runs this large tells the sources of their spread."""
        seeds, orders = len(self.seeds), len(self.sizes)
        low, high = sd_factors((seeds - 1) * (orders - 1))
        init, order = detectable_sd(seeds, orders), detectable_sd(orders, seeds)
        (init_low, init_high), (order_low, order_high) = sd_factors(seeds - 1), sd_factors(orders - 1)
        return [
            "  answers     which share of the variance between runs is initial weights, data order, or the residual",
            f"  can detect  a seed's effect whose sd is {init:.2f} (initial weights) or {order:.2f} (order) times the "
            f"residual's, at 80 % power (F test, alpha {ALPHA:g})",
            f"  power       for initial weights whose sd is so many times the residual's: {self._powers()}; "
            f"{square_design(HALF)} x {square_design(HALF)} seeds find {HALF:g} with 80 %",
            f"  precision   95 % intervals of an sd reach from {low:.2f} to {high:.2f} times the estimate for the "
            f"residual, at best from {init_low:.2f} to {init_high:.2f} for the weights and {order_low:.2f} to "
            f"{order_high:.2f} for the order",
        ]


def preflight(study: Study, runs: Sequence[PlannedRun], corpora: Corpora) -> Preflight:
    """Look at a study's runs, and time a few steps of each model and batch among them."""
    data = corpora.load(runs[0].config)
    trials = {run.fingerprint: run for run in runs if study.tune and run.seed in study.tune.seeds}
    unique = {run.fingerprint: run for run in runs if run.fingerprint not in trials}
    tuning_seconds, seconds = (_core_seconds(list(of.values()), data) for of in (trials, unique))
    settings = [dict(setting) for setting in settings_of(study.settings)]
    val_NT, test_NT = (consecutive_windows(text, study.base.model.context) for text in (data.val, data.test))
    contrasts = comparisons_of(study)
    return Preflight(
        name=study.name,
        question=study.question,
        kind=study.kind,
        factor=study.factor,
        factors=list(study.factors),
        sizes=[_size(study, variant, runs, data) for variant in study.variants],
        settings=settings,
        seeds=list(study.seeds),
        fixed_fields=len(keys_of(RunConfig)) - len(_varied(study)),
        runs=len(unique),
        core_seconds=tuning_seconds + seconds,
        validation_windows=len(val_NT),
        test_windows=len(test_NT),
        metric=study.metric,
        smallest_effect=study.smallest_effect,
        contrasts=contrasts,
        smallest_p=smallest_p(len(study.seeds)),
        detectable_d_z=detectable_d_z(len(study.seeds)),
        power=_power(study, contrasts),
        looks=_looks(study, contrasts),
        tuning=_tuning(study, len(trials), tuning_seconds),
    )


def _tuning(study: Study, trials: int, core_seconds: float) -> PlannedTuning | None:
    if study.tune is None:
        return None
    grid, most = study.tune.grid, trials
    for values in grid.values() if study.tune.extend else ():
        if rises(values):
            most = most * (len(values) + 2 * MOST_EXTENSIONS) // len(values)
    plain = {field: list(values) for field, values in grid.items()}
    return PlannedTuning(plain, list(study.tune.seeds), trials, most, core_seconds)


def _varied(study: Study) -> set[str]:
    """The fields that differ between runs, or are set for all of them."""
    first = {study.factor: study.variants[0], **{name: values[0] for name, values in study.settings.items()}}
    return {*study.resolved(first), *(study.tune.grid if study.tune else ())}


def _power(study: Study, contrasts: int) -> dict[str, float]:
    """Power of the paired t test by d_z, 0 where sign flips cannot reach its level; or of the F test by sd ratio."""
    pairs = len(study.seeds)
    if study.kind == "components":
        return {f"{ratio:g}": seed_power(pairs, len(study.variants), ratio) for ratio in (HALF, 1.0)}
    level = ALPHA / contrasts
    reached = smallest_p(pairs) <= level
    return {f"{d_z:g}": power(pairs, d_z, level) if reached else 0.0 for d_z in (HALF, 1.0, 1.5)}


def _looks(study: Study, contrasts: int) -> list[PlannedLook]:
    if not study.looks:
        return []
    ends = zip(study.looks, bounds(study.looks, ALPHA / contrasts), bounds(study.looks, ALPHA), strict=True)
    return [
        PlannedLook(pairs, first, last, smallest_p(pairs), fewest_pairs(ALPHA / contrasts))
        for pairs, first, last in ends
    ]


def _size(study: Study, variant: Scalar, runs: Sequence[PlannedRun], data: Dataset) -> VariantSize:
    shapes = {canonical(run.config.model.model_dump()): run.config.model for run in runs if run.variant == variant}
    models = [(GPT(shape, data.tokenizer.vocabulary_size, seeds=1), shape) for shape in shapes.values()]
    return VariantSize(
        label(variant),
        study.recipes[str(variant)] if study.factor == RECIPE else {},
        sorted({parameter_count(model) for model, _ in models}),
        sorted({training_flops_per_token(model, shape) for model, shape in models}),
    )


def _span(numbers: Sequence[int]) -> str:
    low, high = numbers[0], numbers[-1]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _core_seconds(runs: Sequence[PlannedRun], data: Dataset) -> float:
    torch.set_num_threads(1)
    timed: dict[str, float] = {}
    total = 0.0
    for run in runs:
        config = run.config
        kind = canonical({"model": config.model.model_dump(), "train": config.train.model_dump(exclude={"steps"})})
        if kind not in timed:
            timed[kind] = _seconds_per_step(run, data)
        total += config.train.steps * timed[kind]
    return total


def _seconds_per_step(run: PlannedRun, data: Dataset) -> float:
    config = run.config
    engine = SingleProcessEngine(config, data.tokenizer.vocabulary_size, [run.seed], torch.device("cpu"))
    durations, order = [], [config.data.order_of(run.seed)]
    for step in range(1, TIMED_STEPS + 1):
        batch = training_batch(data.train, order, step, range(config.train.batch_size), config.model.context)
        began = time.perf_counter()
        engine.train_step(step, torch.from_numpy(batch), config.optim.lr, measure_updates=False)
        durations.append(time.perf_counter() - began)
    return sorted(durations)[TIMED_STEPS // 2]
