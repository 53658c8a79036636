"""YAML files as frozen models: every error with its file, line and key.

Run files, study files and the records that quote them are read by the same functions, so that all answer a mistake
alike.
"""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from gpt.errors import InputError

KeyPath = tuple[str | int, ...]

RENAMED = {"blocks": "settings"}
"""keys of files that earlier versions wrote, and what they are called now"""


class Strict(BaseModel):
    """Base of every configuration: frozen, unknown keys refused, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, strict=True)


class Document:
    """A YAML file as plain data, with the line of every key."""

    def __init__(self, path: Path, data: dict[str, Any], lines: Mapping[KeyPath, int]):
        self.path = path
        self.data = data
        self.lines = lines

    def where(self, key: KeyPath) -> str:
        """`file:line` of the key, or of the nearest enclosing key that the file holds."""
        while key and key not in self.lines:
            key = key[:-1]
        return f"{self.path}:{self.lines[key]}" if key else str(self.path)


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
        lines = dict(_key_lines(yaml.compose(text)))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: not valid YAML: {' '.join(str(error.problem).split())}") from None
    except (YAMLError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: must hold keys and values, got {'nothing' if data is None else type(data).__name__}")
    return Document(path, data, lines)


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
        # a misspelt key is also a missing one; the spelling is what the user can mend
        first, *others = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        location: KeyPath = tuple(first["loc"])
        known = _known_prefix(cls, location)
        place = where.where(location) if isinstance(where, Document) else where
        more = f" (and {len(others)} more)" if others and not _same_field(cls, location, others) else ""
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


def _same_field(cls: type[BaseModel], location: KeyPath, others: Sequence[Any]) -> bool:
    return all(_known_prefix(cls, tuple(o["loc"])) == _known_prefix(cls, location) for o in others)


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
        return (f"{name}: " if name else "") + str(error["ctx"]["error"])
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{name}: got {json.dumps(error['input'], default=str)}, {message.replace('input should', 'must')}"


def dotted(path: KeyPath) -> str:
    """`("optim", "lr")` as `optim.lr`."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")


def keys_of(cls: type[BaseModel], prefix: str = "") -> list[str]:
    """The dotted name of every field, nested ones in place of their parents."""
    keys = []
    for name, info in cls.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += keys_of(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


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


def read_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """`["--optim.lr", "3e-4"]` or `["--optim.lr=3e-4"]` as `{"optim.lr": 0.0003}`."""
    words = [word for argument in arguments for word in _split_equals(argument)]
    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise InputError(f"got {' '.join(arguments)}: overrides must come as --key value")
    scalar = YAML(typ="safe", pure=True)
    values: dict[str, Any] = {}
    for key, word in zip(words[::2], words[1::2], strict=True):
        try:
            values[key[2:]] = scalar.load(word)
        except YAMLError:
            raise InputError(f"{key}: got {word!r}, which is no YAML value") from None
    return values


def _split_equals(argument: str) -> list[str]:
    return argument.split("=", 1) if argument.startswith("--") and "=" in argument else [argument]


def canonical(value: Any) -> str:
    """One text per value: sorted keys, no spaces, floats as their shortest decimal."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
