"""Where a study keeps itself: OUT/studies/<name>/, beside the runs that all studies of OUT share."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from gpt.errors import InputError
from gpt.fields import flatten
from gpt.fingerprint import WITHOUT_EFFECT, as_recorded
from gpt.records.files import read_json, write_atomic, write_json
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
        """Data hash, and (variant, setting, seed) -> fingerprint of every planned run."""
        return self.root / "runs.json"

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
        table = [{"variant": c.variant, "setting": dict(c.setting), "seed": c.seed, "run": c.fingerprint} for c in runs]
        if not self.runs_json.exists():
            stream = io.StringIO()
            YAML(typ="safe", pure=True).dump(fields_of(study), stream)
            write_atomic(self.study_yaml, stream.getvalue().encode())
            write_json(self.runs_json, {"data_sha256": data_sha256, "runs": table})
        if not (self.root / MANIFEST).exists():
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
    """The resolved study as its file holds it: looks only where there are some."""
    return study.model_dump(mode="json", exclude=None if study.looks else {"looks"})


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
