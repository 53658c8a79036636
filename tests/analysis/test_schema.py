"""The published schema of findings.json is that of the model, and what is written and published keeps to it."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import schema
import seeds
import synthetic
from published import RESULTS
from synthetic import Outcome

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect
from gpt.analysis.findings import Findings
from gpt.records.files import read_json, write_json

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def faults(value: Any, rule: dict[str, Any], defs: dict[str, Any], where: str = "") -> list[str]:
    """Where a value breaks a rule, of the keywords that the schema uses."""
    if "$ref" in rule:
        return faults(value, defs[rule["$ref"].removeprefix("#/$defs/")], defs, where)
    if "anyOf" in rule:
        return [] if any(not faults(value, one, defs, where) for one in rule["anyOf"]) else [f"{where}: {value!r}"]
    if "const" in rule or "enum" in rule:
        return [] if value in rule.get("enum", [rule.get("const")]) else [f"{where}: {value!r}"]
    kinds = rule.get("type", [])
    if not any(of_kind(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)) and kinds:
        return [f"{where}: {value!r} must be {kinds}"]
    found = []
    if isinstance(value, dict):
        fields, more = rule.get("properties", {}), rule.get("additionalProperties", True)
        found += [f"{where}.{key}: missing" for key in rule.get("required", []) if key not in value]
        for key, item in value.items():
            one = fields.get(key, more)
            found += (
                [f"{where}.{key}: unknown"] if one is False else faults(item, {} if one is True else one, defs, key)
            )
    if isinstance(value, list) and "items" in rule:
        found += [fault for i, item in enumerate(value) for fault in faults(item, rule["items"], defs, f"{where}[{i}]")]
    return found


def of_kind(value: Any, kind: str) -> bool:
    if kind in ("number", "integer"):
        return isinstance(value, int if kind == "integer" else (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[kind])


def written(findings: Findings, folder: Path) -> Any:
    write_json(folder / "findings.json", findings.model_dump())
    return read_json(folder / "findings.json")


def messy(run: Any) -> Outcome:
    lost = {"state": "diverged", "why": "left", "nan_at": 13} if run.seed == 0 else {}
    return Outcome(2 + run.seed / 100, scale=0.8 if run.variant else 1.0, **lost)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Findings of a study of contrasts, of one of seeds and of one without a finished run, as they are written."""
    folders = [tmp_path_factory.mktemp(name) for name in ("contrasts", "seeds", "planned")]
    settings = {"optim.lr": [1e-3, 3e-3]}
    studies = [
        synthetic.write_study(folders[0], synthetic.study(settings=settings), messy),
        seeds.write(folders[1], seeds.outcome),
        synthetic.write_study(folders[2], synthetic.study(), lambda run: Outcome(state="planned")),
    ]
    return [written(build_findings(collect(s)), f) for s, f in zip(studies, folders, strict=True)]


def test_the_published_schema_is_that_of_the_model() -> None:
    assert schema.PUBLISHED.read_text(encoding="utf-8") == schema.text(), "run `python tests/schema.py`"


def test_what_is_written_and_what_is_published_keeps_to_the_schema(made: list[Any]) -> None:
    rule = json.loads(schema.PUBLISHED.read_text(encoding="utf-8"))
    published = [read_json(path) for path in sorted(RESULTS.glob("*/findings.json"))]
    assert len(published) == 6
    for found in [*made, *published]:
        assert faults(found, rule, rule["$defs"]) == []


@pytest.mark.parametrize("change", [{"version": 1}, {"verdicts": []}, {"family": "one"}])
def test_the_schema_refuses_what_is_not_findings(made: list[Any], change: dict[str, Any]) -> None:
    rule = json.loads(schema.PUBLISHED.read_text(encoding="utf-8"))
    assert len(faults({**made[0], **change}, rule, rule["$defs"])) == 1


def test_every_number_may_be_missing(made: list[Any]) -> None:
    """A study in which nothing could be computed is read back like any other."""
    for found in made:
        again = Findings.model_validate(without_numbers(found))
        assert all(math.isnan(c.paired.mean_difference) and math.isnan(c.p) for c in again.contrasts)


def without_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        kept = ("base", "setting", "smallest_effect", "value", "variants", "settings")
        return {
            key: item if key in kept and not isinstance(item, list) else without_numbers(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [without_numbers(item) for item in value]
    return None if isinstance(value, float) else value


def test_findings_hold_no_sentences(made: list[Any]) -> None:
    for found in made:
        question = found["study"]["question"]
        assert [text for text in strings({**found, "figures": []}) if text.count(" ") > 5] in ([], [question])


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() if key != "meaning" for text in strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []
