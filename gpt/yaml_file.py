"""YAML files as frozen models: every error with its file, line and key.

Run files, study files and the records that quote them are read by the same functions, so that all answer a mistake
alike.
"""

import copy
import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from gpt.errors import RENAMED, InputError

KeyPath = tuple[str | int, ...]

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


class Document:
    """A YAML file as plain data, with the place that every key comes from."""

    def __init__(self, path: Path, data: dict[str, Any], places: Mapping[KeyPath, str]):
        self.path = path
        self.data = data
        self.places = places

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
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
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
        near = nearest_key(cls, name)
        return f"unknown key {name}" + (f"; did you mean {near}?" if near else "")
    if error["type"] == "missing":
        return f"missing key {name}"
    if error["type"] == "value_error":
        failed = error["ctx"]["error"]
        return (f"{name}: " if name else "") + getattr(failed, "rule", str(failed))
    if error["type"] == "literal_error" and error["input"] in RENAMED:
        return f"{name}: {error['input']} was renamed; write {RENAMED[error['input']]} instead"
    limits = {key: _plain(value) for key, value in error.get("ctx", {}).items()}
    rule = RULES.get(error["type"], "valid: " + error["msg"][0].lower() + error["msg"][1:]).format(**limits)
    return f"{name}: got {json.dumps(error['input'], default=str)}, must be {rule}"


def _plain(limit: Any) -> Any:
    return f"{limit:g}" if isinstance(limit, float) else f"{limit:,}" if isinstance(limit, int) else limit


def dotted(path: KeyPath) -> str:
    """`("optim", "lr")` as `optim.lr`."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")


def keys_of(cls: type[BaseModel]) -> list[str]:
    """The dotted name of every field, nested ones in place of their parents; mappings, of open keys, are left out."""
    return [key for key, info in _fields(cls) if get_origin(info.annotation) is not dict]


def is_key(cls: type[BaseModel], name: str) -> bool:
    """Whether a dotted name is that of a field, or below that of a mapping of plain values."""
    open_keys = [key for key, info in _fields(cls) if _is_open(info)]
    return name in keys_of(cls) or name.rpartition(".")[0] in open_keys


def _is_open(info: FieldInfo) -> bool:
    kind = info.annotation
    return get_origin(kind) is dict and not isinstance(get_args(kind)[1], type)


def _fields(cls: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, info in cls.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _fields(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, info


def nearest_key(cls: type[BaseModel], name: str) -> str | None:
    """The known key most like `name`: by its whole name, else by its last part."""
    keys = keys_of(cls)
    sections = {key.rsplit(".", 1)[0] for key in keys if "." in key}
    close = difflib.get_close_matches(name, [*keys, *sections], n=1, cutoff=0.75)
    if close:
        return close[0]
    last = {key.rsplit(".", 1)[-1]: key for key in reversed(keys)}
    close = difflib.get_close_matches(name.rsplit(".", 1)[-1], last, n=1, cutoff=0.7)
    return last[close[0]] if close else None


def flatten(config: BaseModel) -> dict[str, Any]:
    """Every field by its dotted name, values as JSON has them."""

    def walk(values: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
        for name, value in values.items():
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{name}.")
            else:
                yield prefix + name, value

    return dict(walk(config.model_dump(mode="json"), ""))


def set_value(data: dict[str, Any], key: str, value: Any, where: str) -> None:
    *sections, last = key.split(".")
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise InputError(f"{where}: unknown key {key}: {section} has no keys below it")
    data[last] = value


def read_overrides(cls: type[BaseModel], arguments: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """`["--optim.lr", "3e-4"]` or `["--optim.lr=3e-4"]` as `{"optim.lr": ("3e-4", 0.0003)}`: word and value by key.

    A field of text takes the word as it stands; of any other, the word is read as YAML.

    Raises:
        InputError: no such field, a name without a value, or no YAML.
    """
    found = {}
    for key, word in _pairs(arguments):
        if not is_key(cls, key):
            near = nearest_key(cls, key)
            raise InputError(f"--{key}: unknown key" + (f"; did you mean --{near}?" if near else ""))
        try:
            found[key] = word, word if _is_text(cls, key) else YAML(typ="safe", pure=True).load(word)
        except (YAMLError, ValueError):
            raise InputError(f"--{key}: got {word!r}, which is no YAML value") from None
    return found


def _pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    words = iter(arguments)
    for name in words:
        key, equals, word = name.partition("=")
        value = word if equals else next(words, None)
        if not name.startswith("--") or value is None:
            raise InputError(f"got {' '.join(arguments)}: overrides must come as --key value")
        yield key[2:], value


def field_of(cls: type[BaseModel], key: str) -> FieldInfo:
    """The field of a dotted name, or the mapping that the name is in."""
    fields = dict(_fields(cls))
    return fields[key] if key in fields else fields[key.rpartition(".")[0]]


def _is_text(cls: type[BaseModel], key: str) -> bool:
    """Whether a field holds text, any or one of several words."""
    kind = field_of(cls, key).annotation
    return all(
        one is str or get_origin(one) is Literal for one in (get_args(kind) if get_origin(kind) is Union else [kind])
    )


def canonical(value: Any) -> str:
    """One text per value: sorted keys, no spaces, floats as their shortest decimal."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
