"""From a study to its cells: every variant in every block with every seed."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from gpt.config import RunConfig, fingerprint, with_values
from gpt.study.spec import Scalar, Study

Block = tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True)
class PlannedCell:
    """One training run and its place in a study."""

    variant: Scalar
    """value of the factor"""
    block: Block
    """(field, value) of each blocked field"""
    seed: int
    config: RunConfig
    fingerprint: str


def blocks_of(study: Study) -> list[Block]:
    """Every combination of the blocked fields' values; one empty combination where nothing is blocked."""
    fields = [[(key, value) for value in values] for key, values in study.blocks.items()]
    return list(itertools.product(*fields))


def plan(study: Study, data_sha256: str) -> list[PlannedCell]:
    """All cells, seed by seed, so that an unfinished study has whole pairs."""
    cells = []
    for seed, block, variant in itertools.product(study.seeds, blocks_of(study), study.variants):
        values = {study.factor: variant, **dict(block), "seed": seed}
        config = with_values(study.base, values, f"study {study.name}")
        cells.append(PlannedCell(variant, block, seed, config, fingerprint(config, data_sha256)))
    return cells


def label(value: Scalar) -> str:
    """A factor's value as tables and file names show it."""
    return "off" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"


def fields_text(fields: Mapping[str, Scalar]) -> str:
    """`optim.lr = 0.001, optim.clip = off`."""
    return ", ".join(f"{key} = {label(value)}" for key, value in fields.items())


def name_arm(variant: Scalar, block: Block) -> str:
    """Variant and block, for a person."""
    return label(variant) + "".join(f" {key.rsplit('.', 1)[-1]}={label(value)}" for key, value in block)


def describe(cell: PlannedCell) -> str:
    """Variant, block and seed, for a person."""
    return f"{name_arm(cell.variant, cell.block)} seed {cell.seed}"
