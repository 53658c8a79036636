"""Variants by name: a class registers beside its definition, for one field of the configuration."""

import difflib
import importlib
import inspect
import json
import pkgutil
from abc import ABC
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from gpt.errors import InputError
from gpt.yaml_file import Strict, parse


class Variant(ABC):  # noqa: B024  # the base of each registry adds the abstract methods
    """Base of the classes that a value of the configuration stands for; each says itself what it needs."""

    Options: ClassVar[type[Strict]] = Strict
    """fields of its own, under `options` in the field's section of the configuration; none unless a class has some"""

    always: ClassVar[bool] = False
    """whether every run has it, named or not; for fields that name several"""

    @classmethod  # noqa: B027  # not abstract: most variants have nothing to check
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
        given = getattr(config, "options", {})
        own = {name: value for name, value in given.items() if name in cls.Options.model_fields}
        return parse(cls.Options, own, "options")


Base = TypeVar("Base", bound=Variant)


class Registry(Mapping[str, type[Base]]):
    """The classes that the values of one field, named by its dotted key, stand for."""

    def __init__(self, field: str, base: type[Base]):
        self.field = field
        self._base = base
        self._classes: dict[str, type[Base]] = {}
        REGISTRIES[field] = self

    def register(self, name: str) -> Callable[[type[Base]], type[Base]]:
        """Decorator: the value `name` of the field stands for the class that follows.

        Raises:
            InputError: it already stands for another, or what follows is of another kind or lacks a method.
        """

        def add(cls: type[Base]) -> type[Base]:
            if name in self._classes:
                raise InputError(f"{self.field}: {name} is registered already; each variant needs a name of its own")
            if not (isinstance(cls, type) and issubclass(cls, self._base)):
                raise InputError(f"{self.field}: {name} must be a class derived from {self._base.__name__}, got {cls}")
            if inspect.isabstract(cls):
                raise InputError(f"{self.field}: {name} must define {', '.join(sorted(cls.__abstractmethods__))}")
            self._classes[name] = cls
            return cls

        return add

    def chosen(self, value: str | Sequence[str]) -> list[str]:
        """The names that a value of the field stands for.

        Raises:
            InputError: nothing is registered under one of them.
        """
        named = [value] if isinstance(value, str) else value
        for name in named:
            self[name]
        return [name for name, cls in self.items() if cls.always or name in named]

    def from_module(self, module: str) -> dict[str, type[Base]]:
        """The classes that a module has defined and registered."""
        return {name: cls for name, cls in self.items() if cls.__module__ == module}

    def remove(self, names: Iterable[str]) -> None:
        """Forget classes whose module could not be loaded as a whole."""
        for name in list(names):
            del self._classes[name]

    def __getitem__(self, name: str) -> type[Base]:
        """The class that a value stands for.

        Raises:
            InputError: there is none.
        """
        if name not in self._classes:
            raise InputError(f"{self.field}: {unknown(name, list(self))}")
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __contains__(self, name: object) -> bool:
        return name in self._classes

    def __len__(self) -> int:
        return len(self._classes)


REGISTRIES: dict[str, Registry[Any]] = {}
"""every registry that has been imported, by its field"""


def unknown(name: str, known: Sequence[str]) -> str:
    """What to say of a name that is none of those known: these, and the nearest."""
    if not known:
        return f"got {json.dumps(name)}, but no plug-in of the run file brings any"
    near = difflib.get_close_matches(name, known, n=1)
    return f"got {json.dumps(name)}, must be one of {', '.join(known)}" + (f"; did you mean {near[0]}?" if near else "")


def import_modules(package: str, folder: Iterable[str]) -> None:
    """Import every module of a package, so that what each defines is registered."""
    for module in pkgutil.iter_modules(folder):
        importlib.import_module(f"{package}.{module.name}")
