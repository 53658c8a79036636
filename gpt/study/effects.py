"""What a study compares: variants within each setting, and of several factors main effects and interactions."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gpt.study.plan import Arm, Setting, fields_text, label, settings_of
from gpt.study.spec import Scalar, Study

Kind = Literal["main", "interaction", "chosen"]
Cell = Mapping[str, Scalar]
"""a value of each factor"""


@dataclass(frozen=True)
class Effect:
    """A difference of sums over arms, for each seed: `plus` minus `minus`, divided by `over`."""

    kind: Kind
    setting: Setting
    """of the fields that are no factors"""
    a: str
    """what is subtracted, in words"""
    b: str
    factors: tuple[str, ...]
    """whose effect it is"""
    averaged: tuple[str, ...]
    """the other factors"""
    plus: tuple[Arm, ...]
    minus: tuple[Arm, ...]
    over: int


def pairs_of(study: Study) -> list[tuple[int, int]]:
    """The variants that are compared within each setting, by their numbers: the second minus the first."""
    if study.kind == "components":
        return []
    if not study.contrasts:
        return [(0, i) for i in range(1, len(study.variants))]
    sides = [pair for pair in study.contrasts if not isinstance(pair[0], tuple)]
    return [(_number(study, a), _number(study, b)) for a, b in sides]


def _number(study: Study, value: object) -> int:
    return next(i for i, variant in enumerate(study.variants) if variant == value)


def effects_of(study: Study) -> list[Effect]:
    """Main effects and interactions of two factors each, and chosen pairs of cells, at every setting of what is no
    factor; none where there is one factor.

    The first value of each factor is the one that the others are compared with.
    """
    if not study.factors:
        return []
    nuisance = {key: values for key, values in study.settings.items() if key not in study.factors}
    return [effect for setting in settings_of(nuisance) for effect in _effects_at(study, setting)]


def _effects_at(study: Study, setting: Setting) -> Iterator[Effect]:
    levels: dict[str, tuple[Scalar, ...]] = {study.factor: study.variants}
    levels |= {name: study.settings[name] for name in study.factors[1:]}
    for name, (first, *others) in levels.items():
        rest = {key: values for key, values in levels.items() if key != name}
        cells = [dict(cell) for cell in settings_of(rest)]
        for value in others:
            plus, minus = ([{**cell, name: level} for cell in cells] for level in (value, first))
            yield _effect(study, "main", setting, (name,), label(first), label(value), plus, minus, len(cells))
    for one, other in itertools.combinations(levels, 2):
        rest = {key: values for key, values in levels.items() if key not in (one, other)}
        cells = [dict(cell) for cell in settings_of(rest)]
        for x, y in itertools.product(levels[one][1:], levels[other][1:]):
            x0, y0 = levels[one][0], levels[other][0]
            plus = [{**cell, **at} for cell in cells for at in ({one: x, other: y}, {one: x0, other: y0})]
            minus = [{**cell, **at} for cell in cells for at in ({one: x0, other: y}, {one: x, other: y0})]
            # the effect of `one` at the value of `other`, minus that at its first value
            a, b = (f"{label(x)} vs {label(x0)} at {label(at)}" for at in (y0, y))
            yield _effect(study, "interaction", setting, (one, other), a, b, plus, minus, len(cells))
    for a_side, b_side in study.contrasts:
        if isinstance(a_side, tuple) and isinstance(b_side, tuple):
            cells = [dict(zip(levels, side, strict=True)) for side in (a_side, b_side)]
            a, b = (fields_text(cell) for cell in cells)
            yield _effect(study, "chosen", setting, (), a, b, cells[1:], cells[:1], 1)


def _effect(
    study: Study,
    kind: Kind,
    setting: Setting,
    factors: tuple[str, ...],
    a: str,
    b: str,
    plus: Sequence[Cell],
    minus: Sequence[Cell],
    over: int,
) -> Effect:
    def arm(cell: Cell) -> Arm:
        fields = {**dict(setting), **cell}
        return fields[study.factor], tuple((key, fields[key]) for key in study.settings)

    averaged = tuple(name for name in study.factors if name not in factors) if factors else ()
    return Effect(kind, setting, a, b, factors, averaged, tuple(map(arm, plus)), tuple(map(arm, minus)), over)


def comparisons_of(study: Study) -> int:
    """Tests that are corrected for together."""
    return len(pairs_of(study)) * len(settings_of(study.settings)) + len(effects_of(study))
