"""Where a study keeps itself: OUT/studies/<name>/, beside the runs that all studies of OUT share."""

import contextlib
import fcntl
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from gpt.errors import InputError
from gpt.fields import flatten
from gpt.fingerprint import WITHOUT_EFFECT, as_recorded
from gpt.records.files import make_folder, os_errors_with_path, read_json, write_atomic, write_json
from gpt.records.manifest import MANIFEST, differences, write_manifest
from gpt.records.run_folder import RunFolder
from gpt.study.plan import PlannedRun, Setting
from gpt.study.spec import Scalar, Study
from gpt.yaml_file import parse, read_yaml


def run_at(out: Path, fingerprint: str) -> RunFolder:
    """The run of a fingerprint; the same for every study."""
    return RunFolder(out / "runs" / fingerprint)


def refuse_old_layout(out: Path) -> None:
    """Refuse a folder in which version 0.1 kept its runs, under names that are no longer read.

    Raises:
        InputError: the folder holds such runs.
    """
    if (out / "cells").is_dir() and not (out / "runs").is_dir():
        raise InputError(f"{out}: holds runs of version 0.1 (cells/), which are not read any more; use another --out")


@dataclass(frozen=True)
class RunEntry:
    """A planned run, as a study's table of runs names it."""

    variant: Scalar
    setting: Setting
    seed: int
    run: str
    """fingerprint"""


@dataclass(frozen=True)
class StudyFolder:
    """The files of one study."""

    out: Path
    name: str

    @property
    def root(self) -> Path:
        return self.out / "studies" / self.name

    @property
    def study_yaml(self) -> Path:
        """The resolved study."""
        return self.root / "study.yaml"

    @property
    def runs_json(self) -> Path:
        """Data hash, and (variant, setting, seed) -> fingerprint of every planned run; of a study with `tune`, of the
        trials, whose tuned fields count among the setting, and of the comparison once it is known.
        """
        return self.root / "runs.json"

    @property
    def manifest(self) -> Path:
        return self.root / MANIFEST

    @property
    def report(self) -> Path:
        return self.root / "report"

    @property
    def findings(self) -> Path:
        return self.report / "findings.json"

    @property
    def page(self) -> Path:
        """The interactive report."""
        return self.report / "report.html"

    def table(self) -> list[RunEntry]:
        """Every planned run, as the table names it.

        Raises:
            InputError: the table is missing or corrupt.
        """
        try:
            return [
                RunEntry(entry["variant"], tuple(entry["setting"].items()), entry["seed"], str(entry["run"]))
                for entry in read_json(self.runs_json)["runs"]
            ]
        except (KeyError, TypeError, AttributeError):
            raise InputError(f"{self.runs_json}: corrupt, must hold a table of runs") from None

    def runs(self) -> list[RunFolder]:
        """The folder of every planned run.

        Raises:
            InputError: the table of runs is missing or corrupt.
        """
        return [run_at(self.out, entry.run) for entry in self.table()]

    def start(self, study: Study, data_sha256: str, runs: Sequence[PlannedRun]) -> None:
        """Write the study down, or check it against what was written when it was started.

        Raises:
            InputError: the folder holds this study with something changed, which is named.
        """
        with self._locked() if study.tune else contextlib.nullcontext():
            if not self.runs_json.exists():
                stream = io.StringIO()
                YAML(typ="safe", pure=True).dump(fields_of(study), stream)
                write_atomic(self.study_yaml, stream.getvalue().encode())
                self._write_table(data_sha256, runs)
            if not self.manifest.exists():
                write_manifest(self.root, [self.study_yaml, self.runs_json])
        for field, old, new in changes(self.read(), study):
            raise InputError(
                f"{self.study_yaml}: the study was started with {field} = {old!r}, now it is {new!r}; "
                "give the changed study another name or another --out"
            )
        if self.data_sha256() != data_sha256:
            raise InputError(
                f"{self.runs_json}: the study was started on data with sha256 {self.data_sha256()}, "
                f"now it is {data_sha256}; use another --out"
            )

    def advance(self, runs: Callable[[], Sequence[PlannedRun]]) -> None:
        """Write the table again where more runs are planned now than when it was written.

        Args:
            runs: every run that is planned by now; asked for while no other command can write the table.
        """
        with self._locked():
            planned = runs()
            if [entry.run for entry in self.table()] != [run.fingerprint for run in planned]:
                self.manifest.unlink(missing_ok=True)  # a command killed here leaves it to the next to write
                self._write_table(self.data_sha256(), planned)
                write_manifest(self.root, [self.study_yaml, self.runs_json])

    def _write_table(self, data_sha256: str, runs: Sequence[PlannedRun]) -> None:
        table = [{"variant": c.variant, "setting": dict(c.setting), "seed": c.seed, "run": c.fingerprint} for c in runs]
        write_json(self.runs_json, {"data_sha256": data_sha256, "runs": table})

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """This process alone, of all machines, changes the study's files; waits for its turn."""
        make_folder(self.root)
        path = self.root / "lock"
        with os_errors_with_path(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(descriptor)

    def read(self) -> Study:
        """The study as it was started.

        Raises:
            InputError: there is none here, or its file is corrupt.
        """
        document = read_yaml(self.study_yaml)
        if isinstance(base := document.data.get("base"), dict):
            document.data["base"] = as_recorded(base)
        return parse(Study, document.data, document)

    def data_sha256(self) -> str:
        try:
            return str(read_json(self.runs_json)["data_sha256"])
        except (KeyError, TypeError):
            raise InputError(f"{self.runs_json}: corrupt, must hold the data's hash") from None


def fields_of(study: Study) -> dict[str, Any]:
    """The resolved study as its file holds it: what came later than version 0.1 only where there is some."""
    later = ("looks", "tune", "factors", "recipes", "contrasts")
    return study.model_dump(mode="json", exclude={name for name in later if not getattr(study, name)})


def changes(old: Study, new: Study) -> list[tuple[str, Any, Any]]:
    """Every field that is not the same in both, with its two values; fields without effect are not looked at."""
    before, after = flatten(old), flatten(new)
    fields = [field for field in {**before, **after} if field.removeprefix("base.") not in WITHOUT_EFFECT]
    return [(f, before.get(f), after.get(f)) for f in fields if before.get(f) != after.get(f)]


def studies_in(out: Path) -> list[StudyFolder]:
    """Every study that was started in a folder, by name.

    Raises:
        InputError: see `refuse_old_layout`.
    """
    refuse_old_layout(out)
    return [StudyFolder(out, path.parent.name) for path in sorted(out.glob("studies/*/runs.json"))]


def refuse_corrupt(folders: Iterable[StudyFolder]) -> None:
    """Refuse studies with a finished run that is not as it was written: a report would make its numbers look whole.

    Raises:
        InputError: names the first such file.
    """
    runs = {run.root: run for folder in folders for run in folder.runs()}
    for run in runs.values():
        if run.finished and (changed := differences(run.root, run.results())):
            raise InputError(f"{changed[0]}; move {run.root} away and run the study again")
