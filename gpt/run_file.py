"""Run files: read, with what the command line lays over them and the plug-ins that they name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpt.config import SOURCE, SOURCES, RunConfig, with_values
from gpt.errors import InputError
from gpt.fields import flatten, read_overrides
from gpt.plugins import load_plugin
from gpt.yaml_file import Document, parse, read_yaml


def read_run_file(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run file and lay `--key value` pairs over it; only the whole must be valid.

    A text file's path is relative to the run file, and to the current folder where it is given by `--data.source` and
    its like; it is made absolute, so that it means the same wherever the configuration is read again.

    Raises:
        InputError: see `read_yaml`, `read_overrides` and `parse`.
    """
    given = read_overrides(RunConfig, overrides)
    document = read_yaml(path)
    if "variants" in document.data:
        raise InputError(f"{path}: is a study, must be a run file; `gpt study run {path}` trains it")
    if "plugins" in document.data:
        document.data["plugins"] = _load_plugins(document)
    words = {key: word for key, (word, _) in given.items()}
    document = document.changed(
        {key: value for key, (_, value) in given.items()},
        lambda keys: f"{path} with {' '.join(f'--{key} {words[key]}' for key in keys)}",
    )
    config = parse(RunConfig, document.data, document)
    values, names = flatten(config), config.names(SOURCE)
    files = {key: values[key] for key in SOURCES if values[key] is not None and values[key] not in names}
    folders = {key: Path() if key in given else path.parent for key in files}
    return with_values(config, {key: str((folders[key] / files[key]).absolute()) for key in files}, str(path))


def _load_plugins(document: Document) -> dict[str, Any]:
    """Load the files of variants that a run file names, each relative to it.

    Raises:
        InputError: they are no list of files; see also `load_plugin`.
    """
    files = document.data["plugins"]
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files) or len(set(files)) < len(files):
        raise InputError(f"{document.where(('plugins',))}: plugins: got {files!r}, must be a list of different files")
    plugins = {}
    for index, file in enumerate(files):
        try:
            plugins[file] = load_plugin(document.path.parent / file).model_dump(mode="json")
        except InputError as error:
            raise InputError(f"{document.where(('plugins', index))}: {error}") from None
    return plugins
