"""Study files: read, and checked as the runs will be."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from gpt.config import RunConfig, Seed
from gpt.errors import InputError
from gpt.fields import KeyPath, did_you_mean, flatten, is_key
from gpt.fingerprint import WITHOUT_EFFECT
from gpt.records.metric import default_metric, parse_metric, unfair
from gpt.run_file import read_run_file
from gpt.study.factors_file import Factors, read_factors
from gpt.study.plan import Setting, fields_text, settings_of
from gpt.study.spec import RECIPE, Name, Scalar, Study, resolved
from gpt.study.tune_file import read_tune
from gpt.study.tuning import FIRST_SEED
from gpt.yaml_file import Document, Strict, parse, read_yaml

NOT_FACTORS = WITHOUT_EFFECT | {
    "seed",
    "data.val_fraction",
    "data.test_share",
    "data.tokenizer",
    "train.eval_every",
}
"""fields whose values cannot be compared: they change nothing, or what is measured"""
NOT_FACTOR_GROUPS = ("probes.", "sample.")
"""groups of such fields"""


def _check_seeds(seeds: int | list[int]) -> int | list[int]:
    if isinstance(seeds, int) and not 2 <= seeds <= FIRST_SEED:
        raise ValueError(f"got {seeds}, must be at least 2 seeds, as a difference needs, and at most {FIRST_SEED:,}")
    return seeds


class StudyFile(Strict):
    """A study as its author writes it."""

    name: Name
    """folder name of the results; lower case, digits, `-` and `_`"""
    question: Annotated[str, Field(min_length=1)]
    """what is asked, in one sentence"""
    base: str
    """run file that everything not varied comes from, relative to this file"""
    factor: str | None = None
    """the one field that differs between variants, by its dotted name"""
    variants: Annotated[list[Scalar | dict[str, Scalar]], Field(min_length=2)] | None = None
    """values of the factor; the first is the one the others are compared with"""
    factors: dict[str, Annotated[list[Scalar], Field(min_length=2)]] | None = None
    """in place of both, several fields and their values, each crossed with the others"""
    recipes: dict[str, Annotated[dict[str, Scalar], Field(min_length=1)]] | None = None
    """values of the factor `recipe`: each sets several fields"""
    contrasts: list[Annotated[list[Scalar | list[Scalar]], Field(min_length=2, max_length=2)]] = Field(
        default_factory=list
    )
    """pairs that are compared, the second minus the first; left out, every variant is compared with the first"""
    settings: dict[str, Annotated[list[Scalar], Field(min_length=1)]] = Field(default_factory=dict)
    """nuisance fields and their values, crossed with every variant; variants are compared within a setting"""
    seeds: Annotated[int | list[Seed], AfterValidator(_check_seeds)]
    """how many seeds (0, 1, ...), or which"""
    metric: str | None = None
    """primary metric: a recorded number and how a run's values become one; left out, it is `test/loss.at_best_val`
    where the base has test text, else `val/loss.min`
    """
    smallest_effect: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """smallest difference of the metric that would matter, in the metric's unit"""
    looks: list[int] = Field(default_factory=list)
    """numbers of seeds at which contrasts are judged, the last being all; the study ends where each has a verdict"""
    tune: dict[str, Any] | None = None
    """fields and the values that every variant is tried with, `seeds` of the trials, and `extend`; see `read_tune`"""


def load_study(path: Path, seeds: int | None = None) -> Study:
    """Read and check a study file.

    Args:
        seeds: overrides the file's number of seeds.

    Raises:
        InputError: names the file, line and key of what is wrong (see `read_yaml`, `parse`, `check_controlled`).
    """
    document = read_yaml(path)
    if "model" in document.data:
        raise InputError(f"{path}: is a run file, must be a study; `gpt train {path}` trains it")
    file = parse(StudyFile, document.data, document)
    base = read_run_file(path.parent / file.base)
    factors = read_factors(file.factor, file.variants, file.factors, file.recipes, document)
    for field in factors.fields:
        _check_key(field, document)
    for key in file.settings:
        _check_key(key, document)
        if key in factors.fields:
            what = "the factor" if len(factors.fields) == 1 else "set by a factor"
            raise InputError(f"{document.where(('settings', key))}: {key} is {what}; a setting must be another field")
    taken = dict.fromkeys(factors.fields, "the factor" if len(factors.fields) == 1 else "set by a factor")
    tune = read_tune(file.tune, {**taken, **dict.fromkeys(file.settings, "a setting")}, document)
    for key in tune.grid if tune else ():
        _check_key(key, document)
    crossed = {**factors.others, **file.settings, **(tune.grid if tune else {})}
    configs = [
        [_config(base, factors, variant, setting, document) for variant in factors.variants]
        for setting in settings_of(crossed)
    ]
    for variants in configs:
        check_controlled(variants, factors, document.where(("variants",)))
    for number, variant in enumerate(factors.variants):
        for key in set(variant) - {factors.factor} if isinstance(variant, Mapping) else ():
            raise InputError(
                f"{document.where(('variants', number))}: {key} is not the factor; what all runs share belongs to the "
                "base, or under settings"
            )
    for key, values in crossed.items():
        fields = factors.fields_of(key)
        found = {repr([flatten(variants[0])[field] for field in fields]) for variants in configs}
        if len(found) < len(values):
            raise InputError(f"{_where(document, key)}: {key} {list(values)} holds a duplicate")
    try:
        metric = parse_metric(file.metric or default_metric(base.data.has_test))
    except InputError as error:
        raise InputError(f"{document.where(('metric',))}: {error}") from None
    if metric.scalar.lower_is_better is None:
        raise InputError(f"{document.where(('metric',))}: {metric} is neither better high nor low; it ranks no variant")
    if why_not := unfair(metric, base.data.has_test):
        raise InputError(f"{document.where(('metric',))}: metric: {why_not}")
    try:
        numbers = file.seeds if seeds is None else _check_seeds(seeds)
    except ValueError as error:
        raise InputError(f"--seeds: {error}") from None
    resolved = {
        **file.model_dump(mode="json", include={"name", "question", "smallest_effect", "looks", "contrasts"}),
        "base": base.model_dump(mode="json"),
        "metric": str(metric),
        "factor": factors.factor,
        "factors": factors.names,
        "recipes": factors.recipes,
        "variants": _values(factors, configs[0]),
        "settings": {**factors.others, **file.settings},
        "seeds": list(range(numbers)) if isinstance(numbers, int) else numbers,
        "tune": tune and tune.model_dump(mode="json"),
    }
    return parse(Study, resolved, document if seeds is None else f"{path} with --seeds {seeds}")


def _values(factors: Factors, configs: Sequence[RunConfig]) -> list[Scalar]:
    """The values of the first factor as runs have them."""
    if factors.factor == RECIPE:
        return [name for name in factors.variants if isinstance(name, str)]
    return [flatten(config)[factors.factor] for config in configs]


def _config(
    base: RunConfig, factors: Factors, variant: Scalar | dict[str, Scalar], setting: Setting, document: Document
) -> RunConfig:
    """A variant in a setting, valid as a whole, whatever its fields would be beside the base's."""
    number = list(factors.variants).index(variant)
    fields = variant if isinstance(variant, Mapping) else {factors.factor: variant}
    values = resolved({**dict(setting), **fields}, factors.recipes)
    of_variant = factors.recipes[str(variant)] if factors.factor == RECIPE else fields

    def place(keys: Sequence[str]) -> str:
        of_setting = [key for key in keys if key not in of_variant]
        if len(of_setting) == len(keys):
            return _where(document, of_setting[0])
        if factors.factor == RECIPE:
            return document.where(("recipes", str(variant)))
        return document.where(("factors", factors.factor) if factors.others else ("variants", number))

    try:
        run = Document(document.path, base.model_dump(mode="json"), {}).changed(values, place)
        return parse(RunConfig, run.data, run)
    except InputError as error:
        if len(values) == 1:
            raise
        raise InputError(f"{error} (in the run with {fields_text(values)})") from None


def check_controlled(variants: list[RunConfig], factors: Factors, where: str) -> None:
    """Refuse variants whose resolved configurations differ in more, or in less, than the factor.

    Raises:
        InputError: names the first confounded field, or the two variants that are the same.
    """
    flat = [flatten(variant) for variant in variants]
    fields = factors.fields_of(factors.factor)
    for field in flat[0]:
        values = [f[field] for f in flat]
        if field not in fields and any(v != values[0] for v in values):
            raise InputError(f"{where}: variants differ in {field} {values} as well as in the factor {factors.factor}")
    for i, later in enumerate(flat):
        for earlier in flat[:i]:
            if later == earlier:
                both = ", ".join(f"{field} = {later[field]!r}" for field in fields)
                raise InputError(f"{where}: two variants are the same: both have {both}")


def _where(document: Document, key: str) -> str:
    """`file:line` of a field, wherever the file names it."""
    places: list[KeyPath] = [("settings", key), ("tune", key), ("factors", key)]
    places += [("recipes", name, key) for name in document.data.get("recipes") or ()]
    return document.where(next((place for place in places if place in document.places), ("factor",)))


def _check_key(key: str, document: Document) -> None:
    where = _where(document, key)
    if not is_key(RunConfig, key):
        raise InputError(f"{where}: {key} is no field of a run{did_you_mean(RunConfig, key)}")
    if key in NOT_FACTORS or key.startswith(NOT_FACTOR_GROUPS):
        raise InputError(f"{where}: {key} cannot be varied; it is no choice that is compared")
