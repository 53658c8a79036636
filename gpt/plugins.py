"""Files of a user's own variants, which a run file names under `plugins`.

Loading one runs it, and it registers its classes as the package's do. What runs know of it afterwards is what it
provides, its text and its SHA-256; so a resolved configuration can be read anywhere, and no folder that is read brings
code.
"""

import hashlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from gpt.errors import InputError
from gpt.read_file import read_text
from gpt.registry import REGISTRIES
from gpt.yaml_file import Strict


class Plugin(Strict):
    """A file of variants, as a run knows it."""

    sha256: str
    """of the file's bytes, hex"""
    text: str
    """the file, for whoever runs it again; what is read from a folder is never run"""
    provides: dict[str, dict[str, tuple[str, ...]]]
    """field of the configuration -> the values that it adds to it -> the options that each reads"""

    def names(self, field: str) -> list[str]:
        """The values that it adds to a field."""
        return list(self.provides.get(field, {}))

    def options(self, section: str) -> list[str]:
        """The options that its classes read in a section of the configuration."""
        inside = [names for field, names in self.provides.items() if field.startswith(f"{section}.")]
        return [option for names in inside for options in names.values() for option in options]


_LOADED: dict[str, tuple[Path, Plugin]] = {}
"""by SHA-256, with the place of each"""


def load_plugin(file: Path, text: str | None = None) -> Plugin:
    """Run a file of variants, once in this process.

    Args:
        text: what the process that started this one has read in it.

    Raises:
        InputError: it cannot be read or run, registers nothing or a name that is taken, or is another version of one
            that is loaded; the line says which line of the file.
    """
    path, where = file.resolve(), f"plugins: {file.resolve()}"
    try:
        text = read_text(path) if text is None else text
    except InputError as error:
        raise InputError(f"plugins: {error}") from None
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    if sha256 in _LOADED:
        return _LOADED[sha256][1]
    if any(path == loaded for loaded, _ in _LOADED.values()):
        raise InputError(f"{where}: has changed since this process loaded it; start another process")
    try:
        _run(path, text, _module(sha256))
        provides = {field: registry.from_module(_module(sha256)) for field, registry in REGISTRIES.items()}
        if not any(provides.values()):
            raise InputError(f"{where}: registers nothing, must register a class of its own, such as a norm or a probe")
    except InputError:
        forget_plugin(sha256)
        raise
    options = {f: {n: tuple(c.Options.model_fields) for n, c in classes.items()} for f, classes in provides.items()}
    plugin = Plugin(sha256=sha256, text=text, provides={field: names for field, names in options.items() if names})
    _LOADED[sha256] = path, plugin
    return plugin


def forget_plugin(sha256: str) -> None:
    """Undo what loading a file of variants has registered."""
    for registry in REGISTRIES.values():
        registry.remove(registry.from_module(_module(sha256)))
    sys.modules.pop(_module(sha256), None)
    _LOADED.pop(sha256, None)


def _module(sha256: str) -> str:
    return f"gpt_plugin_{sha256[:16]}"


def _run(path: Path, text: str, name: str) -> None:
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = str(path)
    try:
        exec(compile(text, str(path), "exec"), module.__dict__)
    except SyntaxError as error:
        raise InputError(f"plugins: {path}:{error.lineno or 1}: not valid Python: {error.msg}") from None
    except (Exception, SystemExit) as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        why = " ".join(str(error).split())
        raise InputError(f"plugins: {path}:{lines[-1] if lines else 1}: {kind}{why}") from None


def check_loaded(file: str, sha256: str, where: str) -> None:
    """Refuse to rebuild a model whose parts this process does not have.

    Raises:
        InputError: names the file that must be loaded.
    """
    if sha256 not in _LOADED:
        raise InputError(f"{where}: made with {file}, SHA-256 {sha256[:12]}, which must be given: --plugin {file}")


def loaded_plugins() -> list[tuple[Path, str]]:
    """The files that this process has loaded, in the order in which it did, with their texts."""
    return [(path, plugin.text) for path, plugin in _LOADED.values()]
