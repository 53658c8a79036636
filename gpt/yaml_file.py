"""YAML files as frozen models: every error with its file, line and key.

Run files, study files and the records that quote them are read by the same functions, so that all answer a mistake
alike.
"""

import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from gpt.errors import RENAMED, InputError
from gpt.fields import KeyPath, did_you_mean, dotted, may_be_off, set_value
from gpt.read_file import read_text

RULES = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "list_type": "a list",
    "tuple_type": "a list",
    "too_short": "a list of at least {min_length}",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "literal_error": "{expected}",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
}
"""what a value must be, by the validator's name for the rule that it breaks"""


class Strict(BaseModel):
    """Base of every configuration: frozen, unknown keys refused, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, strict=True)


class FieldError(ValueError):
    """A check of several fields that failed because of one of them, so that its line can be named."""

    def __init__(self, field: str, rule: str):
        super().__init__(f"{field}: {rule}")
        self.place, self.rule = tuple(field.split(".")), rule


@dataclass(frozen=True)
class Document:
    """A YAML file as plain data, with the place that every key comes from."""

    path: Path
    data: dict[str, Any]
    places: Mapping[KeyPath, str]

    def where(self, key: KeyPath) -> str:
        """`file:line` of the key, or of the nearest enclosing key that has a place."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places.get(key, str(self.path))

    def changed(self, values: Mapping[str, Any], place: Callable[[Sequence[str]], str]) -> "Document":
        """The document with other values of some keys, which are named by dotted names.

        Args:
            place: where one or several of these keys come from; asked for each and for all below a common section, as
                an error may be of a section as a whole.
        """
        data = copy.deepcopy(self.data)
        below: dict[KeyPath, list[str]] = {}
        for key, value in values.items():
            set_value(data, key, value, place([key]))
            path = tuple(key.split("."))
            for depth in range(len(path) + 1):
                below.setdefault(path[:depth], []).append(key)
        return Document(self.path, data, {**self.places, **{path: place(keys) for path, keys in below.items()}})


ConfigT = TypeVar("ConfigT", bound=Strict)


def read_yaml(path: Path) -> Document:
    """Read one YAML 1.2 file.

    Raises:
        InputError: the file is missing, unreadable, not UTF-8, not YAML, has a duplicate key, or is no mapping.
    """
    text = read_text(path)
    yaml = YAML(typ="safe", pure=True)
    try:
        data = yaml.load(text)
        places = {key: f"{path}:{line}" for key, line in _key_lines(yaml.compose(text))}
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: not valid YAML: {' '.join(str(error.problem).split())}") from None
    except (YAMLError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: must hold keys and values, got {'nothing' if data is None else type(data).__name__}")
    return Document(path, data, places)


def _key_lines(node: Node | None, prefix: KeyPath = ()) -> Iterable[tuple[KeyPath, int]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            path = (*prefix, str(key.value))
            yield path, key.start_mark.line + 1
            yield from _key_lines(value, path)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            path = (*prefix, index)
            yield path, value.start_mark.line + 1
            yield from _key_lines(value, path)


def parse(cls: type[ConfigT], data: Mapping[str, Any], where: Document | str) -> ConfigT:
    """Validate plain data as `cls`.

    Args:
        where: the document the data came from, or words that say it, for the error line.

    Raises:
        InputError: names the place, the key, what was got, what must hold and, for an unknown key, the nearest one.
    """
    try:
        text = json.dumps(data, default=str)
    except TypeError:
        raise InputError(f"{where if isinstance(where, str) else where.path}: every key must be plain text") from None
    try:
        return cls.model_validate_json(text)
    except ValidationError as error:
        # a misspelt key is also a missing one; the spelling is what the user can fix
        errors = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        # of the alternatives that a field has, the one that the value got furthest in
        same = [e for e in errors if _same_field(cls, tuple(errors[0]["loc"]), tuple(e["loc"]))]
        first = max(same, key=lambda e: len(e["loc"]))
        location: KeyPath = (*first["loc"], *getattr(first.get("ctx", {}).get("error"), "place", ()))
        others = [e for e in errors if e not in same]
        known = _known_prefix(cls, location)
        place = where.where(location) if isinstance(where, Document) else where
        more = f" (and {len(others)} more)" if others else ""
        raise InputError(f"{place}: {_explain(cls, known, location, first)}{more}") from None


def _known_prefix(cls: type[BaseModel], location: KeyPath) -> KeyPath:
    """The part of a pydantic location that names keys of the file (unions add labels of their own)."""
    keys: list[str | int] = []
    fields: type[BaseModel] | None = cls
    for part in location:
        if isinstance(part, int):
            keys.append(part)
        elif fields is not None:
            keys.append(part)
            info = fields.model_fields.get(part)
            kind = info.annotation if info else None
            fields = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    return tuple(keys)


def _same_field(cls: type[BaseModel], location: KeyPath, other: KeyPath) -> bool:
    mine, theirs = _known_prefix(cls, location), _known_prefix(cls, other)
    return mine == theirs[: len(mine)]


def _explain(cls: type[BaseModel], known: KeyPath, location: KeyPath, error: Any) -> str:
    name = dotted(known)
    if error["type"] == "extra_forbidden":
        if name in RENAMED:
            return f"{name} was renamed; write {RENAMED[name]} instead"
        return f"unknown key {name}{did_you_mean(cls, name)}"
    if error["type"] == "missing":
        return f"missing key {name}"
    if error["type"] == "value_error":
        failed = error["ctx"]["error"]
        return (f"{name}: " if name else "") + getattr(failed, "rule", str(failed))
    if error["type"] == "literal_error" and error["input"] in RENAMED:
        return f"{name}: {error['input']} was renamed; write {RENAMED[error['input']]} instead"
    limits = {key: _plain(value) for key, value in error.get("ctx", {}).items()}
    rule = RULES.get(error["type"], "valid: " + error["msg"][0].lower() + error["msg"][1:]).format(**limits)
    off = " or off" if may_be_off(cls, name) else ""
    return f"{name}: got {json.dumps(error['input'], default=str)}, must be {rule}{off}"


def _plain(limit: Any) -> Any:
    return f"{limit:g}" if isinstance(limit, float) else f"{limit:,}" if isinstance(limit, int) else limit
