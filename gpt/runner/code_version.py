"""The version of the code that a run's numbers come from: by definition, and of what this run depends on alone.

From the functions that compute, every name is followed, statically, to the definition in the package that it stands
for. Files, imports, annotations, comments, docstrings and what errors say do not count: moving a definition or
rewording an error changes no version. A registry is a choice: of its entries only the run's own is followed, as a part
of its own, so that a new norm or optimizer changes the version of the runs that use it.
"""

import ast
import hashlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gpt
from gpt.config import RunConfig
from gpt.fields import flatten
from gpt.runner.numeric_source import Numeric, imports, is_registry

ENTRY_POINTS = (
    "gpt.config.DataConfig",
    "gpt.config.ModelConfig",
    "gpt.config.TrainConfig",
    "gpt.data.dataset.make_dataset",
    "gpt.model.gpt.build_model",
    "gpt.probes.protocol.probes_of",
    "gpt.train.context_use.measure_long_range",
    "gpt.train.events.EventDetector",
    "gpt.train.loop.train",
    "gpt.train.optim.optimizer.build_optimizer",
    "gpt.train.sampling.sample_text",
)
"""what computes a run's numbers, whatever engine trains it; of the configuration, what is computed from its fields"""
WITHOUT_NUMBERS = frozenset({"gpt.errors", "gpt.registry", "gpt.yaml_file"})
"""modules that are not followed: they refuse, and look up"""

Name = tuple[str, str]
"""a module and a name at its top level"""


@dataclass(frozen=True)
class Module:
    """A module as it is written."""

    definitions: dict[str, list[ast.stmt]]
    imports: dict[str, str]
    """dotted names by what they are called here"""


@dataclass(frozen=True)
class Dependencies:
    """What some definitions depend on, themselves included."""

    definitions: dict[Name, str]
    """where each stands, and its source as far as it can change a number"""
    registries: frozenset[Name]
    """the choices that were met; what they offer is not followed"""

    @property
    def version(self) -> str:
        """12 hex digits."""
        return hashlib.sha256("\n".join(sorted(self.definitions.values())).encode()).hexdigest()[:12]


class Code:
    """The package as it is written in a folder, each module read once."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._modules: dict[str, Module | None] = {}
        self._followed: dict[tuple[Name, ...], Dependencies] = {}

    def parts(self, config: RunConfig) -> dict[str, str]:
        """The version of each part of the code that a run depends on, whatever engine trains it.

        Parts are `shared` and one for each choice, such as `model.norm=layernorm`.
        """
        values = flatten(config)
        shared = self.dependencies(*(self.locate(dotted) for dotted in ENTRY_POINTS))
        parts, met = {"shared": shared.version}, set(shared.registries)
        while met:
            module, name = met.pop()
            registry = getattr(importlib.import_module(module), name)
            for chosen in registry.chosen(values[registry.field]):
                if (part := f"{registry.field}={chosen}") not in parts:
                    entry = self.dependencies(name_of(registry[chosen]))
                    parts[part] = entry.version
                    met |= entry.registries
        return dict(sorted(parts.items()))

    def engine_part(self, engine: type) -> dict[str, str]:
        """The version of the code of an engine, its own and what it shares with others."""
        return {f"engine={engine.__name__}": self.dependencies(name_of(engine)).version}

    def dependencies(self, *roots: Name) -> Dependencies:
        """Follow names from definitions of the package, or of a user's own variants."""
        if roots not in self._followed:
            definitions: dict[Name, str] = {}
            registries: set[Name] = set()
            waiting = list(roots)
            while waiting:
                name = waiting.pop()
                if name in definitions or name in registries:
                    continue
                source, used = self._read(name)
                if source is None:
                    registries.add(name)
                else:
                    definitions[name] = source
                    waiting += used
            self._followed[roots] = Dependencies(definitions, frozenset(registries))
        return self._followed[roots]

    def locate(self, dotted: str) -> Name:
        """Where the definition of a dotted name stands."""
        name = self._look_up(dotted)
        assert name is not None, f"{dotted} is no definition of the package"
        return name

    def _read(self, name: Name) -> tuple[str | None, list[Name]]:
        """A definition's source, None for a registry, and the definitions that it names."""
        module, own = name
        source = self._module(module)
        if source is None:
            return f"{module}.{own}", []  # another package's, whose version is in the stack
        if is_registry(source.definitions[own][0]):
            return None, []
        text, used = [], []
        for written in source.definitions[own]:
            left = Numeric(written)
            text.append(left.text)
            used += [self._resolve(module, dotted, left.imports) for dotted in set(left.names)]
        return "\n".join(text), [name for name in used if name is not None]

    def _resolve(self, module: str, dotted: Sequence[str], inner: dict[str, str]) -> Name | None:
        """The definition that a dotted name stands for in a module; None where it is not followed.

        Args:
            inner: what the definition that names it has imported itself.
        """
        first, *rest = dotted
        source = self._module(module)
        assert source is not None
        if first in source.definitions and first not in inner:
            return module, first
        target = inner.get(first, source.imports.get(first))
        return None if target is None else self._look_up(".".join([target, *rest]))

    def _look_up(self, dotted: str) -> Name | None:
        words = dotted.split(".")
        for end in range(len(words) - 1, 0, -1):
            module = ".".join(words[:end])
            if module in WITHOUT_NUMBERS:
                return None
            if self._module(module) is not None:
                return self._resolve(module, words[end:], {})
        return None

    def _module(self, name: str) -> Module | None:
        """A module of the package, or one with a user's own variants; None for any other."""
        if name not in self._modules:
            self._modules[name] = None if (file := self._file(name)) is None else read_module(file)
        return self._modules[name]

    def _file(self, module: str) -> Path | None:
        package, *inside = module.split(".")
        if package != gpt.__name__:  # a user's own: loaded, but not installed
            file = Path(getattr(sys.modules.get(module), "__file__", None) or "")
            installed = file.is_relative_to(sys.base_prefix) or {"site-packages", "dist-packages"} & set(file.parts)
            return None if installed or not file.is_absolute() or file.suffix != ".py" else file
        path = self._folder.joinpath(*inside)
        return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def read_module(file: Path) -> Module:
    module = Module({}, {})
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        module.imports.update(imports(statement))
        for name in _defined(statement):
            module.definitions.setdefault(name, []).append(statement)
    return module


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
        for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def name_of(definition: Any) -> Name:
    """Where a class or function stands."""
    return definition.__module__, definition.__qualname__.split(".")[0]


@cache
def this_code() -> Code:
    """The code that runs here."""
    return Code(Path(gpt.__file__).parent)
