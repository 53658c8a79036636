"""Is everything there, and is it what was written? Every checksum, record and planned run; nothing is changed."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt.analysis.collect import RunReader, collect
from gpt.errors import InputError
from gpt.records.files import jsonable, read_json
from gpt.records.formatting import count
from gpt.records.jsonl import read_jsonl
from gpt.records.manifest import MANIFEST, differences, files_below
from gpt.records.run_folder import FINISHED, RunFolder, State
from gpt.records.schema import LEARNED_NOTHING, NONFINITE, parse_metric
from gpt.runner.resume import check_records
from gpt.runner.run_json import made_from
from gpt.study.folder import StudyFolder, run_at, studies_in
from gpt.study.plan import PlannedRun, describe, plan
from gpt.study.spec import load_study
from gpt.train import checkpoint

ENDS: dict[bool, State] = {True: "diverged", False: "done"}


@dataclass(frozen=True)
class Verdict:
    """What was looked at, and what is wrong with it."""

    seen: str
    """`2 studies, 12 runs`"""
    wrong: list[str]
    """one line each, beginning with the place"""


def verify(folder: Path) -> Verdict:
    """Look at an output folder, one run or a folder of them, a published study, or a folder of published studies.

    Raises:
        InputError: it is none of these.
    """
    if (folder / "runs").is_dir() or (folder / "studies").is_dir():
        return _output(folder)
    if _is_run(folder):
        return Verdict("1 run", list(_run(RunFolder(folder))))
    if _is_published(folder):
        return Verdict("1 published folder", list(_published(folder)))
    places = _folders(folder)
    if any(map(_is_run, places)):
        return Verdict(count(len(places), "run"), [line for place in places for line in _run(RunFolder(place))])
    if not any(map(_is_published, places)):
        raise InputError(f"{folder}: holds no runs, no studies and no published results")
    return Verdict(count(len(places), "published folder"), [line for place in places for line in _published(place)])


def refuse_corrupt(folders: Iterable[StudyFolder]) -> None:
    """Refuse studies with a finished run that is not as it was written: a report would make its numbers look whole.

    Raises:
        InputError: names the first such file.
    """
    runs = {run.root: run for folder in folders for run in folder.runs()}
    for run in runs.values():
        if run.finished and (changed := differences(run.root, run.results())):
            raise InputError(f"{changed[0]}; move {run.root} away and run the study again")


def _output(out: Path) -> Verdict:
    studies, runs = studies_in(out), _folders(out / "runs")
    wrong = [line for place in runs for line in _run(RunFolder(place))]
    wrong += [line for study in studies for line in _study(study)]
    for place in _folders(out / "studies"):
        if place.name not in [study.name for study in studies]:
            wrong.append(f"{place}: no runs.json, which says what the study's runs are")
    return Verdict(f"{count(len(studies), 'study', 'studies')}, {count(len(runs), 'run')}", wrong)


def _run(run: RunFolder) -> Iterator[str]:
    """What is wrong with a run, finished or not."""
    if run.in_use:
        return
    try:
        run.parse_status()
        record = RunReader(run)
        yield from _identity(run)
        if record.finished:
            changed = differences(run.root, run.results())
            yield from changed or _finished(record)
        else:
            yield from _unfinished(run)
    except InputError as error:
        yield str(error)


def _identity(run: RunFolder) -> Iterator[str]:
    """Whether run.json says how the run was made, and is this run's."""
    if not run.run_json.exists() and not run.metrics.exists():
        return  # not begun
    if read_json(run.run_json).get("fingerprint") != run.root.name or made_from(run) != run.root.name:
        yield f"{run.run_json}: describes run {made_from(run)}, must be that of the folder, {run.root.name}"


def _finished(record: RunReader) -> Iterator[str]:
    """Whether a run whose bytes are as they were written holds all that a result needs."""
    _ = record.curves, record.events, record.long_range
    steps = [row["step"] for row in read_jsonl(record.folder.metrics)]
    last = record.status.step if record.status.step == record.status.steps else len(steps) - 1
    if steps != list(range(last + 1)):  # a run that left the finite numbers may have ended early
        yield f"{record.folder.metrics}: must hold each step from 0 to {last} once"
    asked = record.info["config"]["probes"].get("long_range_windows", 0)
    finite = all(event["kind"] != NONFINITE for event in record.events)
    if finite and asked and record.long_range is None:
        yield f"{record.folder.long_range}: missing, must hold what {asked} windows showed of the use of context"
    ended = any(event["kind"] in (NONFINITE, LEARNED_NOTHING) for event in record.events)
    if record.diverged != ended:
        yield f"{record.folder.status_json}: says {record.status.state}, its events say {ENDS[ended]}"
    if "final_weights_sha256" not in record.info:
        yield f"{record.folder.run_json}: must hold the hash of the last weights"


def _unfinished(run: RunFolder) -> Iterator[str]:
    """What a run that goes on would trip over."""
    steps, corrupt = checkpoint.find(run.checkpoints)
    yield from corrupt.values()
    for step, meta in list(steps.items())[-1:]:
        check_records(run, step, meta["records"])
    if run.events.exists():
        read_jsonl(run.events)


def _study(folder: StudyFolder) -> Iterator[str]:
    """Whether the table names the runs that the study plans, each is finished, and the report says what they hold."""
    try:
        yield from differences(folder.root, [folder.study_yaml, folder.runs_json])
        study = folder.read()
        planned = plan(study, folder.data_sha256())
        found = read_json(folder.runs_json)
        yield from _table(folder.runs_json, planned, found.get("runs") if isinstance(found, dict) else None)
        for run in planned:
            status = run_at(folder.out, run.fingerprint).read_status()
            if not status.finished:
                why = f" ({status.why})" if status.why else ""
                yield f"{folder.root}: {describe(run)}, run {run.fingerprint}, is not finished: {status.state}{why}"
        if folder.findings.exists():
            yield from differences(folder.report, files_below(folder.report))
            results = collect(folder)
            values = [run.value(results.metric) for _, _, _, run in results.places()]
            yield from _findings(folder.findings, jsonable(values))
    except InputError as error:
        yield str(error)


def _published(folder: Path) -> Iterator[str]:
    """Whether a published folder is as it was written and, of a study, every planned run is in it."""
    if changed := differences(folder, files_below(folder)):
        yield from changed
        return
    try:
        if (folder / "study.yaml").exists():
            found = read_json(folder / "findings.json")
            study, runs = load_study(folder / "study.yaml", None), read_json(folder / "runs.json")
            yield from _table(folder / "runs.json", plan(study, found["data"]["sha256"]), runs)
            metric = str(parse_metric(study.metric))
            yield from (
                f"{folder / 'runs.json'}: run {run['run']} is not finished: {run['state']}"
                for run in runs
                if run["state"] not in FINISHED
            )
            yield from _findings(folder / "findings.json", [run["values"][metric] for run in runs])
    except InputError as error:
        yield str(error)


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
        found = rows.get(_key(run.variant, dict(run.setting), run.seed))
        if found != run.fingerprint:
            yield f"{place}: {describe(run)} is run {found}, must be {run.fingerprint}"


def _findings(path: Path, values: list[float | None]) -> Iterator[str]:
    """Whether the findings' values are those of the runs, which come setting by setting, variant by variant."""
    found = read_json(path)
    reported = [
        value for setting in found["settings"] for variant in setting["variants"] for value in variant["values"]
    ]
    if reported != values:
        where = next((i for i, (mine, theirs) in enumerate(zip(reported, values, strict=False)) if mine != theirs), -1)
        yield f"{path}: says other values than the runs (number {where + 1}); `gpt study report` writes it again"


def _is_run(folder: Path) -> bool:
    return RunFolder(folder).status_json.exists() or RunFolder(folder).run_json.exists()


def _is_published(folder: Path) -> bool:
    return (folder / MANIFEST).exists() or (folder / "findings.json").exists()


def _folders(root: Path) -> list[Path]:
    return sorted(place for place in root.iterdir() if place.is_dir()) if root.is_dir() else []


def _key(*what: Any) -> str:
    return json.dumps(what, sort_keys=True)
