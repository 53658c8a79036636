"""Variants by name: a class registers beside its definition, for one field of the configuration."""

import difflib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, TypeVar

from gpt.errors import InputError
from gpt.yaml_file import Strict, parse

T = TypeVar("T")


class Variant:
    """Base of the classes that a value of the configuration stands for; each says itself what it needs."""

    Options: ClassVar[type[Strict]] = Strict
    """fields of its own, under `options` in the field's section of the configuration; none unless a class has some"""

    @classmethod
    def check(cls, config: Any) -> None:
        """Look at the field's section of a configuration.

        Raises:
            InputError: this variant cannot be built from it; names what was got and what must hold.
        """

    @classmethod
    def options(cls, config: Any) -> Any:
        """The class's `Options`, as far as the section gives them.

        Raises:
            InputError: see `parse`.
        """
        own = {name: value for name, value in config.options.items() if name in cls.Options.model_fields}
        return parse(cls.Options, own, "options")


class Registry(Generic[T]):
    """What the values of one field, named by its dotted key, stand for."""

    def __init__(self, field: str):
        self.field = field
        self._entries: dict[str, T] = {}
        REGISTRIES[field] = self

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: the value `name` of the field stands for what follows.

        Raises:
            InputError: it already stands for something.
        """
        if name in self._entries:
            raise InputError(f"{self.field}: {name} is registered already; each variant needs a name of its own")

        def add(entry: T) -> T:
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        """What a value stands for.

        Raises:
            InputError: nothing is registered under it.
        """
        if name not in self._entries:
            raise InputError(f"{self.field}: {unknown(name, self)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)


REGISTRIES: dict[str, Registry[Any]] = {}
"""every registry that has been imported, by its field"""


def unknown(name: str, known: "Registry[Any] | list[str]") -> str:
    """What to say of a name that is none of those known: these, and the nearest."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"got {name!r}, must be one of {', '.join(known)}" + (f"; did you mean {near[0]}?" if near else "")
