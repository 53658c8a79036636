"""Fields of configurations by dotted names, as files, command lines and fingerprints name them."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gpt.errors import InputError

KeyPath = tuple[str | int, ...]
OFF = BeforeValidator(lambda value: None if value == "off" else value)
"""of a field that may be `off`, which is its value None"""


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


def did_you_mean(cls: type[BaseModel], name: str, prefix: str = "") -> str:
    """What to add to a complaint about an unknown key: the one most like it, by its whole name, else its last part."""
    keys = keys_of(cls)
    sections = {key.rsplit(".", 1)[0] for key in keys if "." in key}
    close = difflib.get_close_matches(name, [*keys, *sections], n=1, cutoff=0.75)
    if not close:
        last = {key.rsplit(".", 1)[-1]: key for key in reversed(keys)}
        close = [last[part] for part in difflib.get_close_matches(name.rsplit(".", 1)[-1], last, n=1, cutoff=0.7)]
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def flatten(config: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    """Every field by its dotted name, values as JSON has them."""

    def walk(values: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
        for name, value in values.items():
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{name}.")
            else:
                yield prefix + name, value

    return dict(walk(config if isinstance(config, Mapping) else config.model_dump(mode="json"), ""))


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
    given = {}
    for key, word in _pairs(arguments):
        if not is_key(cls, key):
            raise InputError(f"--{key}: unknown key{did_you_mean(cls, key, '--')}")
        try:
            given[key] = word, word if _is_text(cls, key) else YAML(typ="safe", pure=True).load(word)
        except (YAMLError, ValueError):
            raise InputError(f"--{key}: got {word!r}, which is no YAML value") from None
    return given


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


def may_be_off(cls: type[BaseModel], key: str) -> bool:
    """Whether a dotted name is that of a field with the value `off`."""
    return key in keys_of(cls) and OFF in field_of(cls, key).metadata


def _is_text(cls: type[BaseModel], key: str) -> bool:
    """Whether a field holds text, any or one of several words."""
    kind = field_of(cls, key).annotation
    return all(
        one is str or get_origin(one) is Literal for one in (get_args(kind) if get_origin(kind) is Union else [kind])
    )


def canonical(value: Any) -> str:
    """One text per value: sorted keys, no spaces, floats as their shortest decimal."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
