"""run.json: what a cell is, what made it, and how."""

from collections.abc import Iterable
from typing import Any

from gpt.config import RunConfig, fingerprint, parse
from gpt.data.dataset import Dataset
from gpt.errors import InputError
from gpt.model.flops import parameter_count, training_flops_per_token
from gpt.model.gpt import layer_names
from gpt.records.files import jsonable, read_json, write_json
from gpt.records.run_folder import Cell
from gpt.runner.stack import describe_hardware, describe_stack
from gpt.runner.workspace import Place
from gpt.study.folder import cell_at
from gpt.study.plan import PlannedCell


def describe_run(planned: PlannedCell, data: Dataset, place: Place) -> None:
    """Write run.json, or hold it against what is here now.

    Raises:
        InputError: names what differs; see `check_stack`.
    """
    cell = cell_at(place.out, planned.fingerprint)
    config, vocabulary = planned.config, data.tokenizer.vocabulary_size
    run: dict[str, Any] = {
        "fingerprint": planned.fingerprint,
        "seed": planned.seed,
        "config": config.model_dump(mode="json"),
        "data": {
            "sha256": data.sha256,
            "vocabulary": vocabulary,
            "train_characters": len(data.train),
            "val_characters": len(data.val),
            "unigram_loss": data.unigram_loss,
        },
        "layers": layer_names(config.model),
        "parameters": parameter_count(config.model, vocabulary),
        "training_flops_per_token": training_flops_per_token(config.model, vocabulary),
        "probe_text": data.tokenizer.decode(data.val[: min(config.probes.heatmap_characters, config.model.context)]),
    }
    made_by = {"stack": describe_stack(place.device), "hardware": describe_hardware(place.device)}
    if not cell.run_json.exists():
        write_json(cell.run_json, {**run, **made_by})
        return
    check_stack(cell, made_by["stack"])
    there = read_json(cell.run_json)
    # fields without effect on a number may differ, so that of the configuration the fingerprint is compared
    same = {key: there.get(key) == value for key, value in jsonable(run).items()}
    same["config"] = made_from(cell) == planned.fingerprint
    for key in [key for key, is_same in same.items() if not is_same]:
        raise InputError(f"{cell.run_json}: damaged, holds another {key} than this run's; move the cell's folder away")


def made_from(cell: Cell) -> str:
    """The fingerprint of the run that run.json describes.

    Raises:
        InputError: the file is damaged.
    """
    run = read_json(cell.run_json)
    try:
        return fingerprint(parse(RunConfig, run["config"], str(cell.run_json)), run["data"]["sha256"])
    except (KeyError, TypeError):
        raise InputError(f"{cell.run_json}: damaged, must hold the configuration and the data's hash") from None


def check_stack(cell: Cell, stack: dict[str, Any]) -> None:
    """Refuse to go on with, or to compare, what other code or another machine made.

    Raises:
        InputError: names what differs.
    """
    made_by = _made_by(cell)
    for key, now in stack.items():
        if made_by.get(key) != now:
            raise InputError(
                f"{cell.run_json}: made with {key} = {made_by.get(key)!r}, now it is {now!r}; "
                "results of the two are not merged: use another --out, or remove the cell"
            )


def check_stacks(cells: Iterable[Cell], stack: dict[str, Any]) -> None:
    """Refuse, before anything is trained, cells that another stack has begun; of damaged ones nothing is said yet.

    Raises:
        InputError: names what differs.
    """
    for cell in cells:
        if cell.run_json.exists():
            try:
                _made_by(cell)
            except InputError:  # ends that cell alone, when its turn comes
                continue
            check_stack(cell, stack)


def _made_by(cell: Cell) -> dict[str, Any]:
    run = read_json(cell.run_json)
    made_by = run.get("stack") if isinstance(run, dict) else None
    if not isinstance(made_by, dict):
        raise InputError(f"{cell.run_json}: damaged, must say which stack made the cell; move the cell's folder away")
    return made_by


def note_layout(cell: Cell, layout: dict[str, Any]) -> None:
    """Add the attempt's layout to run.json where it is another than before."""
    run = read_json(cell.run_json)
    before = run.get("layouts", [])
    if not before or before[-1] | {"from_step": layout["from_step"]} != layout:
        write_json(cell.run_json, {**run, "layouts": [*before, layout]})
