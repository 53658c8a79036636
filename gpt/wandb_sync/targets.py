"""Where in W&B each run belongs, and how much of it has arrived there."""

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpt.errors import InputError
from gpt.read_file import read_bytes
from gpt.records.files import read_json, write_json
from gpt.records.run_folder import FINISHED, RunFolder, Status
from gpt.study.folder import StudyFolder, run_at, studies_in
from gpt.study.plan import name_arm

MODES = ("online", "offline", "disabled")
STANDALONE_PROJECT = "gpt-study"
"""project of runs that belong to no study, unless WANDB_PROJECT says otherwise"""
RESTING = (*FINISHED, "failed", "preempted")
"""states in which no process trains the run"""


def read_mode(wish: str | None, environment: Mapping[str, str]) -> str:
    """What the command line or else WANDB_MODE asks for; W&B is off where neither does.

    Raises:
        InputError: an unknown mode.
    """
    mode = wish or environment.get("WANDB_MODE") or "disabled"
    if mode not in MODES:
        raise InputError(f"WANDB_MODE: got {mode!r}, must be {', '.join(MODES[:-1])} or {MODES[-1]}")
    return mode


def read_project(environment: Mapping[str, str]) -> str | None:
    """WANDB_PROJECT, where it is set.

    Raises:
        InputError: no name that W&B takes.
    """
    name = environment.get("WANDB_PROJECT") or None
    if name and (len(name) > 128 or re.search(r"[/\\#?%:]", name) or name in (".", "..")):
        raise InputError(f"WANDB_PROJECT: got {name!r}, must have at most 128 characters and none of / \\ # ? % :")
    return name


@dataclass(frozen=True)
class Cursor:
    """How much of a run has arrived; written when a W&B run was closed cleanly."""

    through: int = -1
    """last step whose row has arrived"""
    status: dict[str, Any] | None = None
    """the run's status then"""

    @property
    def ended(self) -> bool:
        """Nothing more will come."""
        return self.status is not None and self.status["state"] in FINISHED


@dataclass(frozen=True)
class WandbTarget:
    """One run and its W&B run."""

    folder: RunFolder
    project: str
    group: str
    arm: str
    """what the run is called, without its seed"""
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Destination:
    """What is sent where: a folder's studies and standalone runs to W&B's server, or to files for it."""

    out: Path
    mode: str
    project: str | None
    """of everything; None: each study has its own"""
    studies: Sequence[str] = ()
    standalone: Sequence[str] = ()
    """fingerprints of runs that are sent by themselves"""

    @property
    def root(self) -> Path:
        return self.out / "wandb"

    @property
    def log(self) -> Path:
        """What W&B's library and the sync say."""
        return self.root / "sync.log"

    def folder(self, project: str) -> Path:
        """The cursors of one project; a server and files for it have cursors of their own."""
        return self.root / "synced" / self.mode / project

    def iter_runs(self) -> list[WandbTarget]:
        """Every run once for each project that it belongs to.

        Raises:
            InputError: a study's files are missing or corrupt.
        """
        targets: dict[tuple[str, str], WandbTarget] = {}
        for target in (*self._of_studies(), *self._standalone()):
            targets.setdefault((target.project, target.folder.root.name), target)
        return list(targets.values())

    def _of_studies(self) -> Iterator[WandbTarget]:
        for name in self.studies:
            for entry in StudyFolder(self.out, name).table():
                arm = name_arm(entry.variant, entry.setting)
                tags = (name, *(word[:64] for word in arm.split()))
                yield WandbTarget(run_at(self.out, entry.run), self.project or name, arm, arm, tags)

    def _standalone(self) -> Iterator[WandbTarget]:
        for fingerprint in self.standalone:
            run = run_at(self.out, fingerprint)
            yield WandbTarget(run, self.project or STANDALONE_PROJECT, "gpt train", fingerprint[:8], ("gpt train",))

    def cursor_file(self, target: WandbTarget) -> Path:
        return self.folder(target.project) / f"{target.folder.root.name}.json"

    def read_cursor(self, target: WandbTarget) -> Cursor:
        """How much of the run has arrived; nothing where that cannot be told."""
        try:
            return Cursor(**read_json(self.cursor_file(target)))
        except (InputError, TypeError):
            return Cursor()

    def write_cursor(self, target: WandbTarget, through: int, status: Status) -> None:
        write_json(self.cursor_file(target), Cursor(through, asdict(status)))

    def arrived(self, target: WandbTarget) -> bool:
        """Whether nothing is missing of the run; of one that is being trained, nothing is."""
        status = target.folder.read_status()
        return status.state not in RESTING or self.read_cursor(target).status == asdict(status)

    def count_missing(self, targets: Sequence[WandbTarget]) -> int:
        """How many of these runs have not arrived, each of the studies' reports counting as one more."""
        return sum(not self.arrived(target) for target in targets) + sum(map(self._lacks_report, self.studies))

    def _lacks_report(self, study: str) -> bool:
        try:
            return self.new_report(study) is not None
        except InputError:  # another command is writing it
            return True

    def report_file(self, study: str) -> Path:
        """Notes which report of a study has arrived."""
        return self.folder(self.project or study) / f"report-{study}.json"

    def new_report(self, study: str) -> str | None:
        """The SHA-256 of the study's report if there is one that has not arrived."""
        folder = StudyFolder(self.out, study)
        if not folder.findings.exists():
            return None
        digest = hashlib.sha256()
        for path in sorted(path for path in folder.report.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(folder.report)}\0".encode("utf-8", "surrogateescape") + read_bytes(path))
        try:
            arrived = read_json(self.report_file(study))
        except InputError:
            arrived = None
        return digest.hexdigest() if arrived != {"sha256": digest.hexdigest()} else None

    def write_report_cursor(self, study: str, sha256: str) -> None:
        write_json(self.report_file(study), {"sha256": sha256})


def everything(out: Path, mode: str, project: str | None) -> Destination:
    """All studies of a folder, and its runs that belong to none.

    Raises:
        InputError: there is nothing, or a study's files are corrupt.
    """
    studies = tuple(folder.name for folder in studies_in(out))
    of_studies = Destination(out, mode, project, studies, ())
    taken: Collection[str] = {target.folder.root.name for target in of_studies.iter_runs()}
    standalone = sorted(path.parent.name for path in out.glob("runs/*/run.json") if path.parent.name not in taken)
    if not studies and not standalone:
        raise InputError(f"{out}: holds no study and no run; `gpt study run STUDY.yaml --out {out}` makes some")
    return Destination(out, mode, project, studies, tuple(standalone))
