"""What a run can be resumed from."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gpt.errors import InputError
from gpt.read_file import read_bytes
from gpt.records.manifest import entry
from gpt.records.run_folder import RunFolder, load_arrays
from gpt.train import checkpoint
from gpt.train.engines.engine import Engine
from gpt.train.saved_model import CONFIG, check_model


def resume(engine: Engine, runs: Sequence[RunFolder]) -> tuple[int, list[dict[str, Any]]]:
    """Load into an engine the newest step that all runs trained together have.

    Args:
        runs: none on ranks that are not the main one.

    Returns:
        The step, -1 if there is none, and how far the records of each run are kept.
    """
    step = max(set.intersection(*map(resumable_steps, runs)), default=-1) if runs else -1
    loaded = [checkpoint.load(run.checkpoints, step) for run in runs if step >= 0]
    step = engine.ranks.broadcast_object(step)
    if step >= 0:
        states = [one.tensors for one in loaded]
        packed = {name: torch.cat([state[name] for state in states]) for name in states[0]} if states else {}
        engine.load(step, engine.ranks.broadcast_tensors(packed))
    return step, [one.meta["records"] for one in loaded]


def resumable_steps(run: RunFolder) -> set[int]:
    """The steps that have a checkpoint which verifies, and records up to it which do; says why others are not used."""
    verified, corrupt = checkpoint.find(run.checkpoints)
    for why in corrupt.values():
        print(f"checkpoint not used: {why}", file=sys.stderr)
    steps = set()
    for step, meta in verified.items():
        try:
            check_records(run, step, meta["records"])
            steps.add(step)
        except InputError as error:
            print(f"checkpoint of step {step} not used: {error}", file=sys.stderr)
    return steps


def check_records(run: RunFolder, step: int, offsets: Mapping[str, Any]) -> None:
    """Check what a run that resumes from a checkpoint would keep against what was there when it was committed.

    Raises:
        InputError: names the file that is corrupt.
    """
    for path, mark in ((run.metrics, offsets["metrics"]), (run.events, offsets["events"])):
        if entry(read_bytes(path)[: mark["bytes"]]) != mark:
            raise InputError(f"{path}: corrupt, its first {mark['bytes']} bytes are not those of step {step}")
    for probed in run.probe_steps():
        if probed <= step:
            load_arrays(run.probe_file(probed))
    if run.window_losses.exists():
        load_arrays(run.window_losses)
    if (run.model / CONFIG).exists():
        check_model(run.model)
