"""Is everything there, and is it what was written? Every checksum, record and planned cell; nothing is changed."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt.analysis.collect import CellRecord, collect
from gpt.errors import InputError
from gpt.records.files import jsonable, read_json
from gpt.records.formatting import count
from gpt.records.jsonl import read_jsonl
from gpt.records.manifest import MANIFEST, differences, files_below
from gpt.records.run_folder import FINISHED, Cell, State
from gpt.records.schema import NONFINITE, STUCK, parse_metric
from gpt.runner.resume import check_records
from gpt.runner.run_json import made_from
from gpt.study.folder import StudyFolder, cell_at, studies_in
from gpt.study.plan import PlannedCell, describe, plan
from gpt.study.spec import load_study
from gpt.train import checkpoint

ENDS: dict[bool, State] = {True: "diverged", False: "done"}


@dataclass(frozen=True)
class Verdict:
    """What was looked at, and what is wrong with it."""

    seen: str
    """`2 studies, 12 cells`"""
    wrong: list[str]
    """one line each, beginning with the place"""


def verify(folder: Path) -> Verdict:
    """Look at an output folder, one cell or a folder of them, a published study, or a folder of published studies.

    Raises:
        InputError: it is none of these.
    """
    if (folder / "cells").is_dir() or (folder / "studies").is_dir():
        return _output(folder)
    if _is_cell(folder):
        return Verdict("1 cell", list(_cell(Cell(folder))))
    if _is_published(folder):
        return Verdict("1 published folder", list(_published(folder)))
    places = _folders(folder)
    if any(map(_is_cell, places)):
        return Verdict(count(len(places), "cell"), [line for place in places for line in _cell(Cell(place))])
    if not any(map(_is_published, places)):
        raise InputError(f"{folder}: holds no cells, no studies and no published results")
    return Verdict(count(len(places), "published folder"), [line for place in places for line in _published(place)])


def refuse_damaged(folders: Iterable[StudyFolder]) -> None:
    """Refuse studies with a finished cell that is not as it was written: a report would make its numbers look whole.

    Raises:
        InputError: names the first such file.
    """
    cells = {cell.root: cell for folder in folders for cell in folder.cells()}
    for cell in cells.values():
        if cell.finished and (changed := differences(cell.root, cell.results())):
            raise InputError(f"{changed[0]}; move {cell.root} away and run the study again")


def _output(out: Path) -> Verdict:
    studies, cells = studies_in(out), _folders(out / "cells")
    wrong = [line for place in cells for line in _cell(Cell(place))]
    wrong += [line for study in studies for line in _study(study)]
    for place in _folders(out / "studies"):
        if place.name not in [study.name for study in studies]:
            wrong.append(f"{place}: no cells.json, which says what the study's cells are")
    return Verdict(f"{count(len(studies), 'study', 'studies')}, {count(len(cells), 'cell')}", wrong)


def _cell(cell: Cell) -> Iterator[str]:
    """What is wrong with a cell, finished or not."""
    if cell.in_use:
        return
    try:
        cell.parse_status()
        record = CellRecord(cell)
        yield from _identity(cell)
        if record.finished:
            changed = differences(cell.root, cell.results())
            yield from changed or _finished(record)
        else:
            yield from _unfinished(cell)
    except InputError as error:
        yield str(error)


def _identity(cell: Cell) -> Iterator[str]:
    """Whether run.json says how the cell was made, and is this cell's."""
    if not cell.run_json.exists() and not cell.metrics.exists():
        return  # not begun
    if read_json(cell.run_json).get("fingerprint") != cell.root.name or made_from(cell) != cell.root.name:
        yield f"{cell.run_json}: describes cell {made_from(cell)}, must be that of the folder, {cell.root.name}"


def _finished(record: CellRecord) -> Iterator[str]:
    """Whether a cell whose bytes are as they were written holds all that a result needs."""
    _ = record.curves, record.events, record.long_range
    steps = [row["step"] for row in read_jsonl(record.cell.metrics)]
    last = record.status.step if record.status.step == record.status.steps else len(steps) - 1
    if steps != list(range(last + 1)):  # a run that left the finite numbers may have ended early
        yield f"{record.cell.metrics}: must hold each step from 0 to {last} once"
    asked = record.run["config"]["probes"].get("long_range_windows", 0)
    finite = all(event["kind"] != NONFINITE for event in record.events)
    if finite and asked and record.long_range is None:
        yield f"{record.cell.long_range}: missing, must hold what {asked} windows showed of the use of context"
    ended = any(event["kind"] in (NONFINITE, STUCK) for event in record.events)
    if record.diverged != ended:
        yield f"{record.cell.status_json}: says {record.status.state}, its events say {ENDS[ended]}"
    if "final_weights_sha256" not in record.run:
        yield f"{record.cell.run_json}: must hold the hash of the last weights"


def _unfinished(cell: Cell) -> Iterator[str]:
    """What a run that goes on would trip over."""
    steps, damaged = checkpoint.find(cell.checkpoints)
    yield from damaged.values()
    for step, meta in list(steps.items())[-1:]:
        check_records(cell, step, meta["records"])
    if cell.events.exists():
        read_jsonl(cell.events)


def _study(folder: StudyFolder) -> Iterator[str]:
    """Whether the table names the cells that the study plans, each is finished, and the report says what they hold."""
    try:
        yield from differences(folder.root, [folder.study_yaml, folder.cells_json])
        study = folder.read()
        planned = plan(study, folder.data_sha256())
        found = read_json(folder.cells_json)
        yield from _table(folder.cells_json, planned, found.get("cells") if isinstance(found, dict) else None)
        for cell in planned:
            status = cell_at(folder.out, cell.fingerprint).read_status()
            if not status.finished:
                why = f" ({status.why})" if status.why else ""
                yield f"{folder.root}: {describe(cell)}, cell {cell.fingerprint}, is not finished: {status.state}{why}"
        if folder.findings.exists():
            yield from differences(folder.report, files_below(folder.report))
            results = collect(folder)
            values = [cell.value(results.metric) for _, _, _, cell in results.places()]
            yield from _findings(folder.findings, jsonable(values))
    except InputError as error:
        yield str(error)


def _published(folder: Path) -> Iterator[str]:
    """Whether a published folder is as it was written and, of a study, every planned cell is in it."""
    if changed := differences(folder, files_below(folder)):
        yield from changed
        return
    try:
        if (folder / "study.yaml").exists():
            found = read_json(folder / "findings.json")
            study, cells = load_study(folder / "study.yaml", None), read_json(folder / "cells.json")
            yield from _table(folder / "cells.json", plan(study, found["data"]["sha256"]), cells)
            metric = str(parse_metric(study.metric))
            yield from (
                f"{folder / 'cells.json'}: cell {cell['cell']} is not finished: {cell['state']}"
                for cell in cells
                if cell["state"] not in FINISHED
            )
            yield from _findings(folder / "findings.json", [cell["values"][metric] for cell in cells])
    except InputError as error:
        yield str(error)


def _table(place: Path, planned: list[PlannedCell], table: Any) -> Iterator[str]:
    """Whether what was read as a table has every planned cell once, and no other."""
    try:
        rows = {_key(row["variant"], row["block"], row["seed"]): row["cell"] for row in table}
    except (KeyError, TypeError):
        yield f"{place}: damaged, must be a table of cells"
        return
    if len(rows) != len(table) or len(table) != len(planned):
        yield f"{place}: holds {len(table)} cells, must hold each of the {len(planned)} planned ones once"
    for cell in planned:
        found = rows.get(_key(cell.variant, dict(cell.block), cell.seed))
        if found != cell.fingerprint:
            yield f"{place}: {describe(cell)} is cell {found}, must be {cell.fingerprint}"


def _findings(path: Path, values: list[float | None]) -> Iterator[str]:
    """Whether the findings' values are those of the cells, which come block by block, variant by variant."""
    found = read_json(path)
    reported = [value for block in found["blocks"] for variant in block["variants"] for value in variant["values"]]
    if reported != values:
        where = next((i for i, (mine, theirs) in enumerate(zip(reported, values, strict=False)) if mine != theirs), -1)
        yield f"{path}: says other values than the cells (number {where + 1}); `gpt study report` writes it again"


def _is_cell(folder: Path) -> bool:
    return Cell(folder).status_json.exists() or Cell(folder).run_json.exists()


def _is_published(folder: Path) -> bool:
    return (folder / MANIFEST).exists() or (folder / "findings.json").exists()


def _folders(root: Path) -> list[Path]:
    return sorted(place for place in root.iterdir() if place.is_dir()) if root.is_dir() else []


def _key(*what: Any) -> str:
    return json.dumps(what, sort_keys=True)
