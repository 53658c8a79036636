"""From a study to its runs: every variant in every setting with every seed."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpt.config import RunConfig, with_values
from gpt.fingerprint import fingerprint
from gpt.study.spec import Scalar, Study

Setting = tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True)
class PlannedRun:
    """One training run and its place in a study."""

    variant: Scalar
    """value of the factor"""
    setting: Setting
    """(field, value) of each crossed field"""
    seed: int
    config: RunConfig
    fingerprint: str


def settings_of(settings: Mapping[str, Sequence[Scalar]]) -> list[Setting]:
    """Every combination of the crossed fields' values; one empty combination where nothing is crossed."""
    fields = [[(key, value) for value in values] for key, values in settings.items()]
    return list(itertools.product(*fields))


Arm = tuple[Scalar, Setting]
"""a variant in a setting"""


def plan(study: Study, data_sha256: str, tuned: Mapping[Arm, Setting] | None = None) -> list[PlannedRun]:
    """All runs of the comparison, seed by seed, so that an unfinished study has whole pairs.

    Args:
        tuned: the best values of each arm's tuned fields; without them they are the base's.
    """
    runs = []
    for seed, setting, variant in itertools.product(study.seeds, settings_of(study.settings), study.variants):
        best = (tuned or {}).get((variant, setting), ())
        values = study.resolved({study.factor: variant, **dict(setting), **dict(best), "seed": seed})
        config = with_values(study.base, values, f"study {study.name}")
        runs.append(PlannedRun(variant, setting, seed, config, fingerprint(config, data_sha256)))
    return runs


def label(value: Scalar) -> str:
    """A factor's value as tables and file names show it."""
    return "off" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"


def fields_text(fields: Mapping[str, Scalar]) -> str:
    """`optim.lr = 0.001, optim.clip = off`."""
    return ", ".join(f"{key} = {label(value)}" for key, value in fields.items())


def name_arm(variant: Scalar, setting: Setting) -> str:
    """Variant and setting, for a person."""
    return label(variant) + "".join(f" {key.rsplit('.', 1)[-1]}={label(value)}" for key, value in setting)


def describe(run: PlannedRun) -> str:
    """Variant, setting and seed, for a person."""
    return f"{name_arm(run.variant, run.setting)} seed {run.seed}"
