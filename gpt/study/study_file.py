"""Study files: read, and checked as the runs will be."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from gpt.config import RunConfig, Seed
from gpt.errors import InputError
from gpt.fields import did_you_mean, flatten, is_key
from gpt.fingerprint import WITHOUT_EFFECT
from gpt.records.metric import default_metric, parse_metric, unfair
from gpt.run_file import read_run_file
from gpt.study.plan import Setting, fields_text, settings_of
from gpt.study.spec import Name, Scalar, Study
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
    factor: str
    """the one field that differs between variants, by its dotted name"""
    variants: Annotated[list[Scalar | dict[str, Scalar]], Field(min_length=2)]
    """values of the factor; the first is the one the others are compared with"""
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
    _check_key(file.factor, ("factor",), document)
    for key in file.settings:
        _check_key(key, ("settings", key), document)
        if key == file.factor:
            raise InputError(
                f"{document.where(('settings', key))}: {key} is the factor; a setting must be another field"
            )
    tune = read_tune(file.tune, {file.factor: "the factor", **dict.fromkeys(file.settings, "a setting")}, document)
    for key in tune.grid if tune else ():
        _check_key(key, ("tune", key), document)
    crossed = {**file.settings, **(tune.grid if tune else {})}
    settings = settings_of(crossed)
    configs = [
        [_config(base, file, number, setting, document) for number in range(len(file.variants))] for setting in settings
    ]
    for variants in configs:
        check_controlled(variants, file.factor, document.where(("variants",)))
    for number, variant in enumerate(file.variants):
        for key in set(variant) - {file.factor} if isinstance(variant, Mapping) else ():
            raise InputError(
                f"{document.where(('variants', number))}: {key} is not the factor; what all runs share belongs to the "
                "base, or under settings"
            )
    for key, values in crossed.items():
        found = {repr(flatten(variants[0])[key]) for variants in configs}
        if len(found) < len(values):
            section = "settings" if key in file.settings else "tune"
            raise InputError(f"{document.where((section, key))}: {key} {list(values)} holds a duplicate")
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
        **file.model_dump(mode="json", exclude={"base", "variants"}),
        "base": base.model_dump(mode="json"),
        "metric": str(metric),
        "variants": [flatten(variant)[file.factor] for variant in configs[0]],
        "seeds": list(range(numbers)) if isinstance(numbers, int) else numbers,
        "tune": tune and tune.model_dump(mode="json"),
    }
    return parse(Study, resolved, document if seeds is None else f"{path} with --seeds {seeds}")


def _config(base: RunConfig, file: StudyFile, number: int, setting: Setting, document: Document) -> RunConfig:
    """A variant in a setting, valid as a whole, whatever its fields would be beside the base's."""
    variant = file.variants[number]
    fields = variant if isinstance(variant, Mapping) else {file.factor: variant}
    values = {**dict(setting), **fields}

    def place(keys: Sequence[str]) -> str:
        of_setting = [key for key in keys if key not in fields]
        if len(of_setting) < len(keys):
            return document.where(("variants", number))
        section = "settings" if of_setting[0] in file.settings else "tune"
        return document.where((section, of_setting[0]))

    try:
        run = Document(document.path, base.model_dump(mode="json"), {}).changed(values, place)
        return parse(RunConfig, run.data, run)
    except InputError as error:
        if len(values) == 1:
            raise
        raise InputError(f"{error} (in the run with {fields_text(values)})") from None


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
    if not is_key(RunConfig, key):
        raise InputError(f"{document.where(where)}: {key} is no field of a run{did_you_mean(RunConfig, key)}")
    if key in NOT_FACTORS or key.startswith(NOT_FACTOR_GROUPS):
        raise InputError(f"{document.where(where)}: {key} cannot be varied; it is no choice that is compared")
