"""The folder of one training run: the only place that knows its file names, its state and who works on it."""

import fcntl
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as validated_dataclass
from safetensors.numpy import load, save

from gpt.config import Count
from gpt.errors import InputError
from gpt.fields import canonical
from gpt.read_file import read_bytes
from gpt.records.files import make_folder, os_errors_with_path, read_json, remove_leftovers, write_atomic, write_json

State = Literal["planned", "running", "done", "diverged", "failed", "preempted"]
FINISHED: tuple[State, ...] = ("done", "diverged")
"""states in which nothing is left to do: a diverged run is a result too"""

_PROBE = re.compile(r"step-(\d{8,})\.safetensors")


@validated_dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Status:
    """How far a run has come."""

    state: State
    step: Count
    """steps that are done"""
    steps: Count
    """steps that the run has in all"""
    why: str = ""
    """what ended a run that diverged, failed or was preempted"""
    attempts: Count = 0
    """times that work on the run was begun"""
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """time spent on the run, all attempts together"""

    @property
    def finished(self) -> bool:
        return self.state in FINISHED


class Lease:
    """The right to write in a run, held until closed or until the process dies, however it dies."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor

    def close(self) -> None:
        """Give the run back, even if a forked child still has the descriptor."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class RunFolder:
    """One (variant, setting, seed). Everybody may read; only the holder of the lease writes."""

    root: Path

    @property
    def run_json(self) -> Path:
        """Resolved configuration, seed, data hash, code version, package versions, hardware."""
        return self.root / "run.json"

    @property
    def metrics(self) -> Path:
        """One row for each step; see `gpt.records.schema`."""
        return self.root / "metrics.jsonl"

    @property
    def events(self) -> Path:
        """One row for each event; see `gpt.records.schema`."""
        return self.root / "events.jsonl"

    @property
    def probes(self) -> Path:
        """Folder of the probes' arrays."""
        return self.root / "probes"

    @property
    def long_range(self) -> Path:
        """Arrays on the use of context, measured once on the last weights; absent where that was not asked for."""
        return self.root / "long_range.safetensors"

    @property
    def window_losses(self) -> Path:
        """The loss of each held-out window at the best and at the last step; absent where there is no test text."""
        return self.root / "window_losses.safetensors"

    @property
    def samples(self) -> Path:
        """Text that the trained model wrote."""
        return self.root / "samples.txt"

    @property
    def failure(self) -> Path:
        """Traceback of the exception that made the last attempt fail."""
        return self.root / "failure.txt"

    @property
    def checkpoints(self) -> Path:
        """Folder that resuming reads."""
        return self.root / "checkpoints"

    @property
    def model(self) -> Path:
        """Folder of the trained model."""
        return self.root / "model"

    @property
    def status_json(self) -> Path:
        """A `Status`."""
        return self.root / "status.json"

    def results(self) -> list[Path]:
        """The files that are there of those which a finished run keeps unchanged, sorted."""
        files = [self.run_json, self.metrics, self.events, self.long_range, self.window_losses, self.samples]
        for folder in (self.probes, self.model):
            files += folder.iterdir() if folder.is_dir() else []
        return sorted(file for file in files if file.exists() and not file.name.startswith("."))

    @property
    def lease(self) -> Path:
        """Empty file whose lock is the lease; never removed."""
        return self.root / "lease"

    def read_status(self) -> Status:
        """The state last written; a run without one is planned, one whose file is corrupt has failed."""
        try:
            return self.parse_status()
        except InputError as error:
            return Status("failed", 0, 0, str(error))

    def parse_status(self) -> Status:
        """The state last written; a run without one is planned.

        Raises:
            InputError: the file is corrupt.
        """
        if not self.status_json.exists():
            return Status("planned", 0, 0)
        data = read_json(self.status_json)
        if not isinstance(data, dict):
            raise InputError(f"{self.status_json}: corrupt, must be a JSON object, got {type(data).__name__}")
        try:
            return Status(**data)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            got = "" if first["type"] == "missing" else f", got {first['input']!r}"
            raise InputError(f"{self.status_json}: corrupt: {key}: {first['msg'].lower()}{got}") from None

    def write_status(self, status: Status) -> None:
        write_json(self.status_json, status)

    @property
    def finished(self) -> bool:
        """Nothing is left to do."""
        return self.read_status().finished

    def try_lease(self) -> Lease | None:
        """Take the run, or None at once if somebody has it. Removes what a killed holder left half written.

        Raises:
            InputError: the folder cannot be written to, or its file system has no locks.
        """
        make_folder(self.root)
        with os_errors_with_path(self.lease):
            descriptor = os.open(self.lease, os.O_RDWR | os.O_CREAT, 0o644)  # Python closes it on exec
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            message = f"{self.lease}: cannot be locked ({error.strerror}); its file system must support flock"
            raise InputError(message) from None
        for folder in (self.root, self.probes, self.model):
            remove_leftovers(folder)
        return Lease(descriptor)

    @property
    def in_use(self) -> bool:
        """Whether somebody holds the lease now."""
        try:
            descriptor = os.open(self.lease, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def probe_file(self, step: int) -> Path:
        """Where the arrays measured at a step belong; see `save_arrays`."""
        return self.probes / f"step-{step:08d}.safetensors"

    def probe_steps(self) -> list[int]:
        """The steps that have arrays, ascending."""
        names = [file.name for file in self.probes.iterdir()] if self.probes.is_dir() else []
        steps = sorted(int(match[1]) for match in map(_PROBE.fullmatch, names) if match)
        return [step for step in steps if self.probe_file(step).name in names]

    def drop_probes_after(self, step: int) -> None:
        """Remove the arrays that a run resumed at `step` will write again."""
        for later in self.probe_steps():
            if later > step:
                with os_errors_with_path(self.probe_file(later)):
                    self.probe_file(later).unlink()


_UNSEALED = b"0" * 64
_SEAL = re.compile(rb'.{8}\{"__metadata__":\{"sealed":"([0-9a-f]{64}) ', re.DOTALL)


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write arrays as safetensors, by `write_atomic`; equal arrays and metadata give equal bytes.

    The format has no checksum and keeps several metadata entries in no fixed order, so there is one entry: a SHA-256
    over the file (with zeros in its own place), a space and the metadata as JSON.
    """
    dense = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # strides would be lost silently
    data = save(dense, {"sealed": f"{_UNSEALED.decode()} {canonical(dict(metadata))}"})
    assert _SEAL.match(data), "metadata must come first in a safetensors header"
    write_atomic(path, data.replace(_UNSEALED, hashlib.sha256(data).hexdigest().encode(), 1))


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays that `save_arrays` wrote.

    Raises:
        InputError: the file is missing, or any byte of it is corrupt.
    """
    return load(_read_sealed(path))


def _read_sealed(path: Path) -> bytes:
    data = read_bytes(path)
    write_checksummed = _SEAL.match(data)
    if write_checksummed is None:
        raise InputError(f"{path}: corrupt, must begin with its own checksum")
    if hashlib.sha256(data.replace(write_checksummed[1], _UNSEALED, 1)).hexdigest().encode() != write_checksummed[1]:
        raise InputError(f"{path}: corrupt, its bytes must have the SHA-256 {write_checksummed[1].decode()}")
    return data
