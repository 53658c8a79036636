"""A study: a question, a base run, one factor, its variants, seeds and the metric named before the run."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from gpt.config import RunConfig, Seed
from gpt.yaml_file import FieldError, Strict

Scalar = str | int | float | bool | None
Side = Scalar | tuple[Scalar, ...]
"""of a contrast: a value of the first factor, within every setting, or one value of each factor"""
RECIPE = "recipe"
"""the factor whose variants each set several fields"""


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
        raise ValueError(
            f"got {name!r}, must be at most 64 of a-z, 0-9, - and _, with a letter or a digit first: it names a folder"
        )
    return name


Name = Annotated[str, AfterValidator(_check_name)]
Kind = Literal["contrasts", "components"]
"""what a study's answer is: differences between variants, or where the spread between runs comes from"""
ORDER_SEED = "data.order_seed"
"""the factor of a study of the second kind: its seeds are crossed with the seeds of all else"""
FEWEST_SEEDS = 3
"""levels of either seed that a variance can be taken apart from"""


class Tune(Strict):
    """Fields of which each variant is given its own best value, in every setting, before variants are compared."""

    grid: dict[str, tuple[Scalar, ...]]
    """values that every variant is tried with, in every combination"""
    seeds: tuple[Seed, ...]
    """of the trials; the comparison uses none of them"""
    extend: bool
    """where the best of a variant is at an end of the grid, all variants are tried with a value beyond it"""


class Study(Strict):
    """A study that passed every check, whole in itself: this is what its folder keeps."""

    name: Name
    question: str
    base: RunConfig
    factor: str
    variants: tuple[Scalar, ...]
    settings: dict[str, tuple[Scalar, ...]]
    seeds: tuple[Seed, ...]
    metric: str
    smallest_effect: float
    looks: tuple[int, ...] = ()
    """pairs at which the contrasts are looked at, the last of them all; none: when every run is done"""
    tune: Tune | None = None
    """None: every variant has the values of the base and the settings"""
    factors: tuple[str, ...] = ()
    """all factors, the first of which is `factor`; the others are among `settings`; empty where there is one"""
    recipes: dict[str, dict[str, Scalar]] = Field(default_factory=dict)
    """fields that each value of the factor `recipe` sets"""
    contrasts: tuple[tuple[Side, Side], ...] = ()
    """what is compared with what, the second minus the first; empty: every variant with the first"""

    def resolved(self, fields: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Values by the names of a run's fields."""
        return resolved(fields, self.recipes)

    @property
    def kind(self) -> Kind:
        return kind_of(self.factor)

    @property
    def varied(self) -> dict[str, tuple[Scalar, ...]]:
        """The crossed fields that take several values; they tell settings apart."""
        return {key: values for key, values in self.settings.items() if len(values) > 1}

    @property
    def held(self) -> dict[str, Scalar]:
        """The crossed fields of a single value, which all runs share."""
        return {key: values[0] for key, values in self.settings.items() if len(values) == 1}

    @model_validator(mode="after")
    def _seeds_make_a_sample(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise FieldError("seeds", f"{list(self.seeds)} hold a duplicate; each seed must be named once")
        if len(self.seeds) < 2:
            raise FieldError("seeds", f"got {len(self.seeds)} seed; a difference needs at least 2 seeds")
        return self

    @model_validator(mode="after")
    def _looks_end_with_the_seeds(self) -> Self:
        if not self.looks:
            return self
        if self.kind == "components":
            raise FieldError("looks", f"a study of {ORDER_SEED} has no contrasts to look at")
        if any(b <= a for a, b in pairwise((1, *self.looks))) or self.looks[-1] != len(self.seeds):
            raise FieldError(
                "looks",
                f"got {list(self.looks)}, must be rising numbers of seeds, from 2 to all {len(self.seeds)} of `seeds`",
            )
        return self

    @model_validator(mode="after")
    def _contrasts_are_of_the_study(self) -> Self:
        if self.contrasts and self.kind == "components":
            raise FieldError("contrasts", f"a study of {ORDER_SEED} compares no variants")
        values = [self.variants, *(self.settings[name] for name in self.factors[1:])]
        for a, b in self.contrasts:
            for side in (a, b):
                of_all = side if isinstance(side, tuple) else (side,)
                if len(of_all) not in {1, len(values)} or not all(
                    value in known for value, known in zip(of_all, values, strict=False)
                ):
                    one = f" or one of each of {', '.join(self.factors)}" if self.factors else ""
                    raise FieldError(
                        "contrasts", f"got {side!r}, must be among the variants {list(self.variants)}{one}"
                    )
            if isinstance(a, tuple) != isinstance(b, tuple):
                raise FieldError("contrasts", f"got {a!r} and {b!r}, must both be of the same kind")
            if a == b:
                raise FieldError("contrasts", f"got {a!r} twice, must be two to compare")
        if len(set(self.contrasts)) < len(self.contrasts):
            raise FieldError("contrasts", "one is named twice")
        return self

    @model_validator(mode="after")
    def _trials_have_seeds_of_their_own(self) -> Self:
        if self.tune is None:
            return self
        if self.kind == "components":
            raise FieldError("tune", f"a study of {ORDER_SEED} compares no variants that could be tuned")
        if both := sorted(set(self.seeds) & set(self.tune.seeds)):
            raise FieldError(
                "tune.seeds", f"seed {both[0]} is in `seeds` too; the comparison must use seeds that chose nothing"
            )
        return self

    @model_validator(mode="after")
    def _seeds_make_a_table(self) -> Self:
        if self.kind == "components":
            if None in self.variants:
                raise FieldError(
                    "variants",
                    f"{list(self.variants)} hold off, the run's own seed; where {ORDER_SEED} is the factor, "
                    "each variant must be a seed, so that every one meets every seed of `seeds`",
                )
            fewest = min(len(self.variants), len(self.seeds))
            if fewest < FEWEST_SEEDS:
                raise FieldError(
                    "seeds",
                    f"got {len(self.variants)} variants and {len(self.seeds)} seeds; where {ORDER_SEED} is the factor, "
                    f"a variance is taken apart, which needs at least {FEWEST_SEEDS} of either",
                )
        return self


def resolved(fields: Mapping[str, Scalar], recipes: Mapping[str, Mapping[str, Scalar]]) -> dict[str, Scalar]:
    """Values by the names of a run's fields, those of a recipe in its place."""
    values: dict[str, Scalar] = {}
    for name, value in fields.items():
        values |= recipes[str(value)] if name == RECIPE else {name: value}
    return values


def kind_of(factor: str) -> Kind:
    return "components" if factor == ORDER_SEED else "contrasts"
