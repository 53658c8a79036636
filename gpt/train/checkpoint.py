"""Checkpoints: committed whole or not at all, and read only when every byte is the one that was written.

A checkpoint is a folder `step-00000500` with the tensors (safetensors; nothing here can run code) and a manifest that
holds their size and SHA-256 and ends with a hash of itself. It is written under a hidden name, synced to disk and only
then renamed, and older checkpoints go only after that, so that a kill or a power cut at any moment leaves the last
committed step intact.
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as serialise_tensors

from gpt.records.files import make_folder, os_errors_with_path, sync_folder, write_new
from gpt.records.manifest import MANIFEST, CorruptionError, entry, read_checksummed, read_verified, write_checksummed

KEPT = 2
"""Checkpoints that stay, the newest; the older one is there in case the newer is corrupt later."""

STATE = "state.safetensors"

_NAME = re.compile(r"step-(\d{8,})")
_HIDDEN = ".tmp-"


@dataclass(frozen=True)
class Checkpoint:
    """What a run resumes from."""

    step: int
    """steps that are done"""
    tensors: dict[str, torch.Tensor]
    meta: dict[str, Any]
    """JSON data"""


def commit(root: Path, step: int, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> Path:
    """Make step `step` durable, then remove the checkpoints that are older than the newest two that verify.

    A checkpoint of that step which verifies and has the same `meta` is left as it is, any other is replaced. One
    process at a time may commit under `root`: what earlier ones left unfinished is removed.

    Args:
        tensors: no two sharing memory.
        meta: JSON data that comes back equal: no tuples, no keys other than text, no NaN.

    Returns:
        The checkpoint's folder.

    Raises:
        InputError, OSError: see `gpt.records.files.os_errors_with_path`; every earlier checkpoint is then still there.
    """
    make_folder(root)
    for leftover in root.glob(_HIDDEN + "*"):
        _remove(leftover)
    try:
        there = _read(root, step)[0]["meta"] == meta
    except CorruptionError:
        there = False
    if not there:
        _write(root, step, tensors, meta)
    _prune(root, step)
    return root / _name(step)


def find(root: Path) -> tuple[dict[int, dict[str, Any]], dict[str, str]]:
    """Verify every checkpoint.

    Returns:
        The steps that `load` accepts, ascending, with their `meta`, and the reason for each folder that it refuses.
    """
    verified: dict[int, dict[str, Any]] = {}
    corrupt = {}
    for step in _steps(root):
        try:
            verified[step] = load(root, step).meta
        except CorruptionError as error:
            corrupt[_name(step)] = str(error)
    return verified, corrupt


def load(root: Path, step: int, device: torch.device | str = "cpu") -> Checkpoint:
    """Read one checkpoint, verifying every byte before any is parsed.

    Raises:
        CorruptionError: a file is missing, differs from the manifest, or belongs to another step or format.
    """
    manifest, data = _read(root, step)
    try:
        views = parse_tensors(data)
    except SafetensorError as error:
        raise CorruptionError(f"{root / _name(step) / STATE}: {error}") from None
    # Copies: a view lies at any offset of the file, and a kernel may sum in another order at another alignment.
    tensors = {name: view.to(device, copy=True) for name, view in views.items()}
    return Checkpoint(step, tensors, manifest["meta"])


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _steps(root: Path) -> list[int]:
    """The steps that have a folder, good or not, ascending."""
    names = [folder.name for folder in root.iterdir()] if root.is_dir() else []
    steps = [int(match[1]) for match in map(_NAME.fullmatch, names) if match]
    return sorted(step for step in steps if _name(step) in names)


def _write(root: Path, step: int, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
    folder = root / _name(step)
    hidden = root / f"{_HIDDEN}{os.getpid()}-{step}"
    replaced = root / f"{_HIDDEN}{os.getpid()}-{step}-replaced"
    data = serialise_tensors({name: tensor.detach().contiguous() for name, tensor in tensors.items()})
    manifest = write_checksummed({"step": step, "meta": dict(meta), "files": {STATE: entry(data)}})
    try:
        with os_errors_with_path(folder):
            hidden.mkdir()
            write_new(hidden / STATE, data)
            write_new(hidden / MANIFEST, manifest)
            sync_folder(hidden)
            if os.path.lexists(folder):
                folder.rename(replaced)
            hidden.rename(folder)
            sync_folder(root)
            if os.path.lexists(replaced):
                _remove(replaced)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise


def _prune(root: Path, step: int) -> None:
    """Remove what is older than the newest `KEPT` checkpoints up to `step` that verify."""
    verified = 0
    for older in [one for one in reversed(_steps(root)) if one <= step]:
        if verified == KEPT:
            gone = root / f"{_HIDDEN}{os.getpid()}-{older}-pruned"
            (root / _name(older)).rename(gone)  # first, so that no half removed folder looks like a corrupt checkpoint
            _remove(gone)
        else:
            try:
                _read(root, older)
                verified += 1
            except CorruptionError:
                pass  # stays as evidence until two good ones are newer


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _read(root: Path, step: int) -> tuple[dict[str, Any], bytes]:
    """The manifest and the bytes of the tensors, verified against it and not parsed."""
    folder = root / _name(step)
    manifest = read_checksummed(folder / MANIFEST)
    if manifest["step"] != step:
        raise CorruptionError(f"{folder / MANIFEST}: step {manifest['step']}, must be that of the folder's name")
    return manifest, read_verified(folder / STATE, manifest["files"][STATE])
