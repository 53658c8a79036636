"""Is everything there, and is it what was written? Every checksum, record and planned run; nothing is changed."""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt.analysis.collect import collect
from gpt.analysis.findings import Findings
from gpt.analysis.run_reader import RunReader
from gpt.analysis.trials import plan_from_records
from gpt.analysis.verdicts import needed
from gpt.errors import InputError
from gpt.records.files import jsonable, read_json
from gpt.records.formatting import count
from gpt.records.jsonl import read_jsonl
from gpt.records.manifest import MANIFEST, differences, files_below
from gpt.records.metric import parse_metric
from gpt.records.run_folder import FINISHED, RunFolder, State
from gpt.records.schema import NONFINITE
from gpt.runner.resume import check_records
from gpt.runner.run_json import made_from
from gpt.study.folder import StudyFolder, refuse_old_layout, run_at
from gpt.study.plan import PlannedRun, describe
from gpt.study.study_file import load_study
from gpt.study.tuning import plan_so_far
from gpt.train import checkpoint

ENDS: dict[bool, State] = {True: "diverged", False: "done"}


@dataclass(frozen=True)
class Verdict:
    """What was looked at, and what is wrong with it."""

    folder: str
    studies: int
    runs: int
    published: int
    """folders of published results"""
    wrong: list[str]
    """one line each, beginning with the place"""

    @property
    def seen(self) -> str:
        """`2 studies, 12 runs`"""
        if self.published:
            return count(self.published, "published folder")
        studies = [count(self.studies, "study", "studies")] if self.studies else []
        return ", ".join([*studies, count(self.runs, "run")])

    def __str__(self) -> str:
        lines = [f"wrong: {line}" for line in self.wrong]
        return "\n".join([*lines, f"{self.folder}: {self.seen}, {len(self.wrong) or 'nothing'} wrong"])


def verify(folder: Path) -> Verdict:
    """Look at an output folder, one run or a folder of them, a published study, or a folder of published studies.

    Raises:
        InputError: it is none of these.
    """
    refuse_old_layout(folder)
    if _is_folder(folder / "runs") or _is_folder(folder / "studies"):
        return _output(folder)
    places = _folders(folder)
    for is_one, runs in ((_is_run, True), (_is_published, False)):
        looked_at = [folder] if is_one(folder) else places if any(map(is_one, places)) else []
        if looked_at:
            wrong = _each(looked_at, _run if runs else _published)
            return Verdict(str(folder), 0, len(looked_at) * runs, len(looked_at) * (not runs), wrong)
    raise InputError(f"{folder}: holds no runs, no studies and no published results")


def _each(places: Iterable[Path], check: Callable[[Path], Iterator[str]]) -> list[str]:
    """What a check finds in each place; one that cannot be read is named and does not end the others."""
    wrong = []
    for place in places:
        try:
            for line in check(place):  # what is found before a file that cannot be read counts too
                wrong.append(line)
        except InputError as error:
            wrong.append(str(error))
        except OSError as error:
            wrong.append(f"{error.filename or place}: cannot be read: {error.strerror}")
    return wrong


def _output(out: Path) -> Verdict:
    runs, studies = _folders(out / "runs"), _folders(out / "studies")
    wrong = _each(runs, _run) + _each(studies, _study)
    return Verdict(str(out), len(studies), len(runs), 0, wrong)


def _run(folder: Path) -> Iterator[str]:
    """What is wrong with a run, finished or not; one that another process is training is left to it."""
    run = RunFolder(folder)
    if run.in_use:
        return
    status = run.parse_status()
    if status.state == "failed":
        yield f"{folder}: is not finished: failed ({status.why})"
    record = RunReader(run)
    yield from _identity(run)
    if record.finished:
        changed = differences(run.root, run.results())
        yield from changed or _finished(record)
    else:
        yield from _unfinished(run)


def _identity(run: RunFolder) -> Iterator[str]:
    """Whether run.json says how the run was made, and is this run's."""
    if not run.run_json.exists() and not run.metrics.exists():
        return  # not begun
    if read_json(run.run_json).get("fingerprint") != run.root.name or made_from(run) != run.root.name:
        yield f"{run.run_json}: describes run {made_from(run)}, must be that of the folder, {run.root.name}"


def _finished(record: RunReader) -> Iterator[str]:
    """Whether a run whose bytes are as they were written holds all that a result needs."""
    _ = record.curves, record.events, record.long_range, record.window_losses
    steps = [row["step"] for row in read_jsonl(record.folder.metrics)]
    last = record.status.step if record.status.step == record.status.steps else len(steps) - 1
    if steps != list(range(last + 1)):  # a run that became non-finite may have ended early
        yield f"{record.folder.metrics}: must hold each step from 0 to {last} once"
    asked = record.info["config"]["probes"].get("long_range_windows", 0)
    finite = all(event["kind"] != NONFINITE for event in record.events)
    if finite and asked and record.long_range is None:
        yield f"{record.folder.long_range}: missing, must hold what {asked} windows showed of the use of context"
    if finite and "test_characters" in record.info["data"] and record.window_losses is None:
        yield f"{record.folder.window_losses}: missing, must hold the losses of the held-out windows"
    ended = any(event["kind"] == NONFINITE for event in record.events)
    if (record.status.state == "diverged") != ended:
        yield f"{record.folder.status_json}: says {record.status.state}, its events say {ENDS[ended]}"
    if "final_weights_sha256" not in record.info:
        yield f"{record.folder.run_json}: must hold the hash of the last weights"


def _unfinished(run: RunFolder) -> Iterator[str]:
    """What resuming the run would trip over."""
    steps, corrupt = checkpoint.find(run.checkpoints)
    yield from corrupt.values()
    for step, meta in list(steps.items())[-1:]:
        check_records(run, step, meta["records"])
    if run.events.exists():
        read_jsonl(run.events)


def _study(place: Path) -> Iterator[str]:
    """Whether the table names the runs that the study plans, each is finished, and the report says what they hold."""
    folder = StudyFolder(place.parents[1], place.name)
    if not folder.runs_json.exists():
        yield f"{place}: no runs.json, which says what the study's runs are"
        return
    yield from differences(folder.root, [folder.study_yaml, folder.runs_json])
    study = folder.read()
    planned = plan_from_records(study, folder.data_sha256(), folder.out, {})
    if not planned.runs:
        yield f"{folder.root}: is not finished: a trial is missing, so that no best is chosen yet"
    table = read_json(folder.runs_json)
    yield from _table(folder.runs_json, planned.all_runs, table.get("runs") if isinstance(table, dict) else None)
    seeds = needed(collect(folder)).study.seeds if study.looks else study.seeds
    for run in planned.on_seeds(seeds):
        status = run_at(folder.out, run.fingerprint).read_status()
        if not status.finished and status.state != "failed":  # the run itself says so where it failed
            why = f" ({status.why})" if status.why else ""
            yield f"{folder.root}: {describe(run)}, run {run.fingerprint}, is not finished: {status.state}{why}"
    if folder.findings.exists():
        yield from differences(folder.report, files_below(folder.report))
        results = needed(collect(folder))
        values = [run.value(results.metric) for _, _, _, run in results.places()]
        yield from _values(folder.findings, Findings.read(folder.findings), values)


def _published(folder: Path) -> Iterator[str]:
    """Whether a published folder is as it was written and, of a study, every planned run is in it."""
    if changed := differences(folder, files_below(folder)):
        yield from changed
        return
    if not (folder / "study.yaml").exists():
        return
    findings = Findings.read(folder / "findings.json")
    study, runs = load_study(folder / "study.yaml", None), read_json(folder / "runs.json")
    seeds = findings.study.seeds
    metric = str(parse_metric(study.metric))
    if len(seeds) not in (study.looks or [len(study.seeds)]):
        yield f"{folder / 'findings.json'}: holds {len(seeds)} seeds, must hold those of a whole look"
    plan = plan_so_far(study, findings.data.sha256, {run["run"]: run.get("selection_loss") for run in runs}.get)
    yield from _table(folder / "runs.json", plan.on_seeds(seeds), runs)
    yield from (
        f"{folder / 'runs.json'}: run {run['run']} is not finished: {run['state']}"
        for run in runs
        if run["state"] not in FINISHED
    )
    yield from _values(folder / "findings.json", findings, [run["values"][metric] for run in runs[len(plan.trials) :]])


def _table(place: Path, planned: list[PlannedRun], table: Any) -> Iterator[str]:
    """Whether what was read as a table has every planned run once, and no other."""
    try:
        rows = {_key(row["variant"], row["setting"], row["seed"]): row["run"] for row in table}
    except (KeyError, TypeError):
        yield f"{place}: corrupt, must be a table of runs"
        return
    if len(rows) != len(table) or len(table) != len(planned):
        yield f"{place}: holds {len(table)} runs, must hold each of the {len(planned)} planned ones once"
    for run in planned:
        named = rows.get(_key(run.variant, dict(run.setting), run.seed))
        if named != run.fingerprint:
            yield f"{place}: {describe(run)} is run {named}, must be {run.fingerprint}"


def _values(path: Path, findings: Findings, values: Sequence[float | None]) -> Iterator[str]:
    """Whether the findings' values are those of the runs, which come setting by setting, variant by variant."""
    reported = [value for setting in findings.settings for variant in setting.variants for value in variant.values]
    pairs = itertools.zip_longest(jsonable(reported), jsonable(values), fillvalue="missing")  # NaN is None in JSON
    for number, (mine, theirs) in enumerate(pairs, start=1):
        if mine != theirs:
            yield f"{path}: says other values than the runs (number {number}); `gpt study report` writes it again"
            return


def _is_run(folder: Path) -> bool:
    return _one_exists(RunFolder(folder).status_json, RunFolder(folder).run_json)


def _is_published(folder: Path) -> bool:
    return _one_exists(folder / MANIFEST, folder / "findings.json")


def _one_exists(*files: Path) -> bool:
    """Of a folder that cannot be read nothing is known."""
    with contextlib.suppress(OSError):
        return any(file.exists() for file in files)
    return False


def _is_folder(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False


def _folders(root: Path) -> list[Path]:
    """Raises InputError where the folder cannot be read."""
    try:
        return sorted(place for place in root.iterdir() if _is_folder(place)) if root.is_dir() else []
    except OSError as error:
        raise InputError(f"{root}: cannot be read: {error.strerror}") from None


def _key(*what: Any) -> str:
    return json.dumps(what, sort_keys=True)
