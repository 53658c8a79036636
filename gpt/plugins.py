"""Files of a user's own variants, which a run file names under `plugins`.

Loading one runs it, and it registers its classes as the package's do. What runs know of it afterwards is what it
provides, and its SHA-256; so a resolved configuration can be read anywhere, and no folder that is read brings code.
"""

import hashlib
import sys
import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from gpt.errors import InputError
from gpt.registry import REGISTRIES
from gpt.yaml_file import Strict

FieldNames = dict[str, dict[str, tuple[str, ...]]]
"""field of the configuration -> its values -> the options that each reads"""


class Plugin(Strict):
    """A file of variants, as a run knows it."""

    sha256: str
    """of the file's bytes, hex"""
    text: str
    """the file, for whoever runs it again; what is read from a folder is never run"""
    provides: FieldNames
    """the values that it adds to fields of the configuration, each with the options that it reads"""

    def names(self, field: str) -> list[str]:
        """The values that it adds to a field."""
        return list(self.provides.get(field, {}))

    def options(self, section: str) -> list[str]:
        """The options that its classes read in a section of the configuration."""
        inside = [names for field, names in self.provides.items() if field.startswith(f"{section}.")]
        return [option for names in inside for options in names.values() for option in options]


@dataclass(frozen=True)
class Source:
    """A file as it was when it was loaded, for the processes that this one starts."""

    path: Path
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


_LOADED: dict[str, tuple[Source, Plugin]] = {}


def read_plugin(path: Path) -> Source:
    """Read a file of variants.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    try:
        return Source(path.resolve(), path.read_bytes().decode())
    except FileNotFoundError:
        raise InputError(f"plugins: {path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"plugins: {path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise InputError(f"plugins: {path}: cannot be read: {error.strerror}") from None


def load_plugin(source: Source, built_in: Mapping[str, Collection[str]]) -> Plugin:
    """Run a file of variants, once in this process.

    Args:
        built_in: the values of each field that the package itself brings.

    Raises:
        InputError: it cannot be run, registers nothing or a name that is taken, or is another version of one that is
            loaded; the line says which line of the file.
    """
    if source.sha256 in _LOADED:
        return _LOADED[source.sha256][1]
    where = f"plugins: {source.path}"
    if any(source.path == loaded.path for loaded, _ in _LOADED.values()):
        raise InputError(f"{where}: has changed since this process loaded it; start another process")
    module = _module(source.sha256)
    try:
        _run(source, module, where)
        provides = {field: registry.from_module(module) for field, registry in REGISTRIES.items()}
        for field, classes in provides.items():
            for name in set(classes) & set(built_in.get(field, ())):
                raise InputError(f"{where}: {field}: {name} is built in; each variant needs a name of its own")
        if not any(provides.values()):
            raise InputError(f"{where}: registers nothing, must register a class of its own, such as a norm or a probe")
    except InputError:
        forget_plugin(source.sha256)
        raise
    options = {f: {n: tuple(c.Options.model_fields) for n, c in classes.items()} for f, classes in provides.items()}
    plugin = Plugin(
        sha256=source.sha256, text=source.text, provides={field: names for field, names in options.items() if names}
    )
    _LOADED[source.sha256] = source, plugin
    return plugin


def forget_plugin(sha256: str) -> None:
    """Undo what loading a file of variants has registered."""
    for registry in REGISTRIES.values():
        registry.remove(registry.from_module(_module(sha256)))
    sys.modules.pop(_module(sha256), None)
    _LOADED.pop(sha256, None)


def _module(sha256: str) -> str:
    return f"gpt_plugin_{sha256[:16]}"


def _run(source: Source, name: str, where: str) -> None:
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = str(source.path)
    try:
        exec(compile(source.text, str(source.path), "exec"), module.__dict__)
    except SyntaxError as error:
        raise InputError(f"{where}:{error.lineno or 1}: not valid Python: {error.msg}") from None
    except (Exception, SystemExit) as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(source.path)]
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        raise InputError(f"{where}:{lines[-1] if lines else 1}: {kind}{' '.join(str(error).split())}") from None


def check_loaded(file: str, sha256: str, where: str) -> None:
    """Refuse to rebuild a model whose parts this process does not have.

    Raises:
        InputError: names the file that must be loaded.
    """
    if sha256 not in _LOADED:
        raise InputError(f"{where}: made with {file}, SHA-256 {sha256[:12]}, which must be given: --plugin {file}")


def sources() -> list[Source]:
    """What this process has loaded, in the order in which it did."""
    return [source for source, _ in _LOADED.values()]
