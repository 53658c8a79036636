"""A study: a question, a base run, one factor, its variants, seeds and the metric named before the run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gpt.config import WITHOUT_EFFECT, RunConfig, Seed, read_run_file, with_values
from gpt.errors import InputError
from gpt.records.schema import parse_metric
from gpt.yaml_file import Document, Strict, flatten, keys_of, nearest_key, parse, read_yaml

Scalar = str | int | float | bool | None
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
Kind = Literal["contrasts", "components"]
"""what a study's answer is: differences between variants, or where the spread between runs comes from"""
ORDER_SEED = "data.order_seed"
"""the factor of a study of the second kind: its seeds are crossed with the seeds of all else"""
FEWEST_SEEDS = 3
"""levels of either seed that a variance can be taken apart from"""
NOT_FACTORS = WITHOUT_EFFECT | {"seed", "data.val_fraction", "train.eval_every"}
"""fields whose values cannot be compared: they change nothing, or what is measured"""
NOT_FACTOR_GROUPS = ("probes.", "sample.")
"""groups of such fields"""


class StudyFile(Strict):
    """A study as its author writes it."""

    name: Name
    """folder name of the results; lower case, digits, `-` and `_`"""
    question: Annotated[str, Field(min_length=1)]
    """what is asked, in one sentence"""
    base: str
    """run file that everything not varied comes from, relative to this file"""
    factor: str
    """the one field that differs between variants, by its dotted name"""
    variants: Annotated[list[Scalar | dict[str, Scalar]], Field(min_length=2)]
    """values of the factor; the first is the one the others are compared with"""
    settings: dict[str, Annotated[list[Scalar], Field(min_length=1)]] = Field(default_factory=dict)
    """nuisance fields and their values, crossed with every variant; variants are compared within a setting"""
    seeds: Annotated[int, Field(ge=2, le=10_000)] | list[Seed]
    """how many seeds (0, 1, ...), or which"""
    metric: str = "val/loss.min"
    """primary metric: a recorded number and how a run's values become one"""
    smallest_effect: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """smallest difference of the metric that would matter, in the metric's unit"""


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

    @property
    def kind(self) -> Kind:
        return "components" if self.factor == ORDER_SEED else "contrasts"

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
            raise ValueError(f"seeds {list(self.seeds)} hold a duplicate; each seed must be named once")
        if len(self.seeds) < 2:
            raise ValueError(f"got {len(self.seeds)} seed; a difference needs at least 2 seeds to be corrected")
        return self

    @model_validator(mode="after")
    def _seeds_make_a_table(self) -> Self:
        if self.kind == "components":
            if None in self.variants:
                raise ValueError(
                    f"variants {list(self.variants)} hold off, the run's own seed; where {ORDER_SEED} is the factor, "
                    "each variant must be a seed, so that every one meets every seed of `seeds`"
                )
            fewest = min(len(self.variants), len(self.seeds))
            if fewest < FEWEST_SEEDS:
                raise ValueError(
                    f"got {len(self.variants)} variants and {len(self.seeds)} seeds; where {ORDER_SEED} is the factor, "
                    f"a variance is taken apart, which needs at least {FEWEST_SEEDS} of either"
                )
        return self


def load_study(path: Path, seeds: int | None = None) -> Study:
    """Read and check a study file.

    Args:
        seeds: overrides the file's number of seeds.

    Raises:
        InputError: names the file, line and key of what is wrong (see `read_yaml`, `parse`, `check_controlled`).
    """
    document = read_yaml(path)
    file = parse(StudyFile, document.data, document)
    base = read_run_file(path.parent / file.base)
    _check_key(file.factor, ("factor",), document)
    for key in file.settings:
        _check_key(key, ("settings", key), document)
        if key == file.factor:
            raise InputError(
                f"{document.where(('settings', key))}: {key} is the factor; a setting must be another field"
            )
    variants = [
        with_values(base, as_values(file.factor, variant), document.where(("variants", i)))
        for i, variant in enumerate(file.variants)
    ]
    check_controlled(variants, file.factor, document.where(("variants",)))
    for key, values in file.settings.items():
        settings = [flatten(with_values(base, {key: v}, document.where(("settings", key))))[key] for v in values]
        if len({repr(b) for b in settings}) < len(settings):
            raise InputError(f"{document.where(('settings', key))}: {key} {settings} holds a duplicate")
    try:
        metric = parse_metric(file.metric)
    except InputError as error:
        raise InputError(f"{document.where(('metric',))}: {error}") from None
    if metric.scalar.lower_is_better is None:
        raise InputError(f"{document.where(('metric',))}: {metric} is neither better high nor low; it ranks no variant")
    numbers = file.seeds if seeds is None else seeds
    resolved = {
        **file.model_dump(mode="json", exclude={"base", "variants"}),
        "base": base.model_dump(mode="json"),
        "variants": [flatten(variant)[file.factor] for variant in variants],
        "seeds": list(range(numbers)) if isinstance(numbers, int) else numbers,
    }
    return parse(Study, resolved, document if seeds is None else f"{path} with --seeds {seeds}")


def as_values(factor: str, variant: Scalar | Mapping[str, Scalar]) -> dict[str, Any]:
    """A variant as changed fields: a plain value is the factor's."""
    return dict(variant) if isinstance(variant, Mapping) else {factor: variant}


def check_controlled(variants: list[RunConfig], factor: str, where: str) -> None:
    """Refuse variants whose resolved configurations differ in more, or in less, than the factor.

    Raises:
        InputError: names the first confounded field, or the two variants that are the same.
    """
    flat = [flatten(variant) for variant in variants]
    for field in flat[0]:
        values = [f[field] for f in flat]
        if field != factor and any(v != values[0] for v in values):
            raise InputError(f"{where}: variants differ in {field} {values} as well as in the factor {factor}")
    for i, later in enumerate(flat):
        for earlier in flat[:i]:
            if later == earlier:
                raise InputError(f"{where}: two variants are the same: both have {factor} = {later[factor]!r}")


def _check_key(key: str, where: tuple[str, ...], document: Document) -> None:
    if key not in keys_of(RunConfig):
        near = nearest_key(RunConfig, key)
        hint = f"; did you mean {near}?" if near else ""
        raise InputError(f"{document.where(where)}: {key} is no field of a run{hint}")
    if key in NOT_FACTORS or key.startswith(NOT_FACTOR_GROUPS):
        raise InputError(f"{document.where(where)}: {key} cannot be varied; it is no choice that is compared")
