"""What a study file says of its factors: one with its variants, several in every combination, or recipes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpt.errors import InputError
from gpt.study.spec import ORDER_SEED, RECIPE, Scalar
from gpt.yaml_file import Document

Variants = Sequence[Scalar | dict[str, Scalar]]


@dataclass(frozen=True)
class Factors:
    """The factors of a study, in the order of its file."""

    factor: str
    """the first"""
    variants: Variants
    """its values"""
    others: dict[str, list[Scalar]]
    """the other factors and their values"""
    recipes: dict[str, dict[str, Scalar]]

    @property
    def names(self) -> list[str]:
        """All of them; empty where there is one."""
        return [self.factor, *self.others] if self.others else []

    @property
    def fields(self) -> list[str]:
        """The fields of a run that the factors set."""
        return [field for name in (self.factor, *self.others) for field in self.fields_of(name)]

    def fields_of(self, name: str) -> list[str]:
        return list(next(iter(self.recipes.values()))) if name == RECIPE else [name]


def read_factors(
    factor: str | None,
    variants: Variants | None,
    factors: Mapping[str, list[Scalar]] | None,
    recipes: dict[str, dict[str, Scalar]] | None,
    document: Document,
) -> Factors:
    """One factor and its variants; or several; where there are recipes and no factor is named, the recipes.

    Raises:
        InputError: names the line, what was got and what must hold.
    """
    if recipes is not None:
        _check_recipes(recipes, document)
    if factors is not None:
        if factor is not None or variants is not None:
            raise InputError(f"{document.where(('factors',))}: factors stands in place of factor and variants")
        if len(factors) < 2:
            raise InputError(f"{document.where(('factors',))}: factors: got {len(factors)}, must be at least 2")
        if ORDER_SEED in factors:
            raise InputError(f"{document.where(('factors', ORDER_SEED))}: {ORDER_SEED} must be the only factor")
        (first, of_first), *others = factors.items()
        found = Factors(first, of_first, dict(others), recipes or {})
    elif factor is None and variants is None and recipes:
        found = Factors(RECIPE, list(recipes), {}, recipes)
    elif factor is None or variants is None:
        missing = "factor" if factor is None else "variants"
        raise InputError(f"{document.path}: missing key {missing} (in its place may be factors, or recipes)")
    else:
        found = Factors(factor, variants, {}, recipes or {})
    _check_names(found, document)
    return found


def _check_recipes(recipes: Mapping[str, Mapping[str, Scalar]], document: Document) -> None:
    (first, fields), *others = recipes.items()
    if not others:
        raise InputError(f"{document.where(('recipes',))}: recipes: got 1, must be at least 2")
    for name, other in others:
        if set(other) != set(fields):
            field = sorted(set(other) ^ set(fields))[0]
            raise InputError(
                f"{document.where(('recipes', name))}: recipes.{name}: every recipe must set the same fields; "
                f"{field} is set by only one of {first} and {name}"
            )


def _check_names(found: Factors, document: Document) -> None:
    """That recipes are used, and values of the factor `recipe` are recipes."""
    given: dict[str, Variants] = {found.factor: found.variants, **found.others}
    if found.recipes and RECIPE not in given:
        raise InputError(f"{document.where(('recipes',))}: recipes: no factor is named {RECIPE}, so none is used")
    if RECIPE in given and not found.recipes:
        where = document.where(("factors", RECIPE)) if found.others else document.where(("factor",))
        raise InputError(f"{where}: the factor {RECIPE} needs `recipes`, which say what each value sets")
    for name in given.get(RECIPE, ()):
        if not isinstance(name, str) or name not in found.recipes:
            raise InputError(
                f"{document.where(('recipes',))}: {RECIPE}: got {name!r}, must be one of {', '.join(found.recipes)}"
            )
    if len(set(found.fields)) < len(found.fields):
        twice = next(field for field in found.fields if found.fields.count(field) > 1)
        raise InputError(f"{document.where(('factors',))}: {twice} is set by two factors")
