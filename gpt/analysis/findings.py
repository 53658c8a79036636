"""The typed shape of findings.json: what a study found, in numbers; `gpt.report.text` makes sentences of them.

A number that could not be computed is NaN here and null in the file; so is a noise scale without an upper bound.
"""

import ast
import inspect
import itertools
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from gpt.analysis.contrast_findings import ContrastFindings, EffectFindings, LookFindings, at
from gpt.analysis.measured import Measured
from gpt.analysis.proof_findings import Control, Treatment
from gpt.analysis.spread_findings import SpreadFindings
from gpt.analysis.statistics.noise_floor import NoiseFloor
from gpt.analysis.tuning_findings import RateSensitivity, TuneFindings, TuningFindings
from gpt.analysis.variant_findings import VariantFindings
from gpt.errors import InputError
from gpt.records.catalogue import Array, Entry
from gpt.records.files import read_json
from gpt.records.formatting import decimals
from gpt.records.run_folder import State
from gpt.study.spec import Kind, Scalar, kind_of, resolved


@dataclass(frozen=True)
class MetricFindings:
    """The primary metric."""

    name: str
    title: str
    unit: str
    meaning: str
    lower_is_better: bool | None


@dataclass(frozen=True)
class StudyFindings:
    """What was asked, and of what."""

    name: str
    question: str
    factor: str
    variants: list[Scalar]
    settings: dict[str, list[Scalar]]
    """fields crossed with every variant"""
    seeds: list[int]
    metric: MetricFindings
    smallest_effect: float
    """metric units"""
    base: dict[str, Any]
    """the base run by dotted names"""
    looks: list[int] = field(default_factory=list)
    """numbers of seeds at which the contrasts are judged; empty: when every run is done"""
    planned_seeds: list[int] = field(default_factory=list)
    """where there are looks, all that they may take; `seeds` are those up to the look that ended the study"""
    factors: list[str] = field(default_factory=list)
    """all of them, where there are several; those after the first are among the settings"""
    recipes: dict[str, dict[str, Scalar]] = field(default_factory=dict)
    """fields that each value of the factor `recipe` sets"""
    chosen_contrasts: list[list[Scalar | list[Scalar]]] = field(default_factory=list)
    """pairs that the study names; empty: every variant with the first"""
    tune: TuneFindings | None = None
    """what each variant had its own best value of; None: nothing"""

    @property
    def kind(self) -> Kind:
        return kind_of(self.factor)

    @property
    def places(self) -> int:
        """Decimals of the metric."""
        return decimals(self.smallest_effect)

    @property
    def held(self) -> dict[str, Scalar]:
        """The crossed fields of a single value, which all runs share."""
        return {key: values[0] for key, values in self.settings.items() if len(values) == 1}

    def config(self, setting: "SettingFindings", variant: "VariantFindings") -> dict[str, Any]:
        """The configuration of a variant's runs in a setting, by dotted names."""
        chosen = {**setting.setting, **variant.tuned, self.factor: variant.value}
        return {**self.base, **resolved(chosen, self.recipes)}


@dataclass(frozen=True)
class RunCounts:
    planned: int
    finished: int
    states: dict[State, int]


@dataclass(frozen=True, kw_only=True)
class SettingFindings:
    """One setting: the place within which variants are compared."""

    label: str
    setting: dict[str, Scalar]
    variants: list[VariantFindings]
    contrasts: list[ContrastFindings]
    """every variant against the first, or the pairs that the study chooses"""
    components: SpreadFindings | None = None
    """of a study of seeds, in place of contrasts"""
    noise_floor: Measured[NoiseFloor] | None = None
    """of the primary metric, over the runs that did not fail; of a study of contrasts"""
    treatment: Treatment

    @property
    def at(self) -> str:
        return at(self.label)


@dataclass(frozen=True)
class DataFindings:
    sha256: str
    vocabulary: int | None = None
    train_characters: int | None = None
    val_characters: int | None = None
    test_characters: int | None = None
    """None where there is no test text"""
    unigram_loss: float | None = None
    """on validation text, nats per character"""
    bigram_loss: float | None = None
    """the same of a model that counts pairs of characters"""
    unigram_losses: dict[str, float] = field(default_factory=dict)
    """by the key of the loss: on the text that it is of"""


@dataclass(frozen=True)
class LayoutFindings:
    """How runs were computed."""

    engine: str
    ranks: int
    micro_batches: int
    seeds_together: int
    runs: int
    """how many in this way; a resumed run may count in several"""


@dataclass(frozen=True)
class FigureFindings:
    """A figure's place in the report."""

    name: str
    """what it shows, the same in every setting and study"""
    file: str
    setting: str
    """label of the setting that it shows; empty where it shows all"""
    title: str
    caption: str


@dataclass(frozen=True)
class LeftOutFigure:
    """A figure that an error has left out of the report."""

    name: str
    setting: str
    """as in `FigureFindings`"""
    title: str
    error: str
    """`ValueError: no such axis (loss.py, line 31)`"""


class Findings(BaseModel):
    """Everything that a report says."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: Literal[4] = 4
    study: StudyFindings
    runs: RunCounts
    family: int
    control: Control
    secondary: list[Entry]
    """what the secondary scalars are, in the order of a table"""
    arrays: list[Array]
    """what the probe arrays are"""
    settings: list[SettingFindings]
    rate_sensitivity: RateSensitivity | None
    data: DataFindings
    stack: dict[str, Scalar]
    """what all runs' stacks share"""
    stack_differences: dict[str, list[str]]
    """every value of what they do not"""
    layouts: list[LayoutFindings]
    hardware: list[dict[str, Scalar]]
    looks: list[LookFindings] = []
    """every one that the study plans"""
    effects: list[EffectFindings] = []
    """of several factors, corrected together with the contrasts"""
    tuning: TuningFindings | None = None
    """what the trials gave; None where nothing is tuned"""
    figures: list[FigureFindings] = []
    left_out_figures: list[LeftOutFigure] = []

    @property
    def complete(self) -> bool:
        return self.runs.finished == self.runs.planned

    @property
    def contrasts(self) -> list[ContrastFindings]:
        """Those of all settings."""
        return [contrast for setting in self.settings for contrast in setting.contrasts]

    @property
    def compared_with(self) -> str:
        """What differences are from, in a sentence: one variant, or the other of each pair."""
        firsts = {contrast.a for contrast in self.contrasts}
        return f"`{firsts.pop()}`" if len(firsts) == 1 else "the other of its pair"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write_json` wrote of findings.

        Raises:
            InputError: the file is missing, no JSON, or of another version.
        """
        data = read_json(path)
        if not isinstance(data, dict) or data.get("version") != 4:
            raise InputError(f"{path}: must be findings of version 4; `gpt study report OUT` writes them again")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise InputError(f"{path}: corrupt: {key}: {first['msg'].lower()}") from None


class _Schema(GenerateJsonSchema):
    def float_schema(self, schema: core_schema.FloatSchema) -> dict[str, Any]:
        """JSON has null where a number is not finite."""
        return {"type": ["number", "null"]}

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> dict[str, Any]:
        """With what the classes say of their fields that this one derives from; pydantic reads its own alone."""
        made = super().dataclass_schema(schema)
        for base in schema["cls"].__mro__[1:-1]:
            for name, doc in _field_docs(base).items():
                if name in made["properties"]:
                    made["properties"][name].setdefault("description", doc)
        return made


def _field_docs(cls: type) -> dict[str, str]:
    """The text below each field that has one."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for named, text in itertools.pairwise(definition.body):
        if isinstance(named, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            docs[ast.unparse(named.target)] = inspect.cleandoc(str(text.value.value))
    return docs


def findings_schema() -> dict[str, Any]:
    """The JSON schema of findings.json, as docs/findings.schema.json publishes it."""
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **Findings.model_json_schema(schema_generator=_Schema, mode="serialization"),
    }
