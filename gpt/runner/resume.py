"""What a cell can go on from."""

import sys
from collections.abc import Mapping
from typing import Any

from gpt.errors import InputError
from gpt.records.files import read_bytes
from gpt.records.manifest import entry
from gpt.records.run_folder import Cell, load_arrays
from gpt.train import checkpoint
from gpt.train.saved_model import CONFIG, check_model


def resumable_steps(cell: Cell) -> set[int]:
    """The steps that have a checkpoint which verifies, and records up to it which do; says why others are not used."""
    verified, damaged = checkpoint.find(cell.checkpoints)
    for why in damaged.values():
        print(f"checkpoint not used: {why}", file=sys.stderr)
    steps = set()
    for step, meta in verified.items():
        try:
            check_records(cell, step, meta["records"])
            steps.add(step)
        except InputError as error:
            print(f"checkpoint of step {step} not used: {error}", file=sys.stderr)
    return steps


def check_records(cell: Cell, step: int, marks: Mapping[str, Any]) -> None:
    """Hold what a run that goes on from a checkpoint would keep against what was there when it was committed.

    Raises:
        InputError: names the file that is damaged.
    """
    for path, mark in ((cell.metrics, marks["metrics"]), (cell.events, marks["events"])):
        if entry(read_bytes(path)[: mark["bytes"]]) != mark:
            raise InputError(f"{path}: damaged, its first {mark['bytes']} bytes are not those of step {step}")
    for probed in cell.probe_steps():
        if probed <= step:
            load_arrays(cell.probe_file(probed))
    if (cell.model / CONFIG).exists():
        check_model(cell.model)
