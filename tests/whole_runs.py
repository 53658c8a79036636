"""Runs of tests that look at all a run leaves: trained here, and read back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gpt.config import RunConfig
from gpt.data.corpus import default_cache
from gpt.data.dataset import load_dataset
from gpt.fingerprint import fingerprint
from gpt.records.files import read_json
from gpt.records.run_folder import RunFolder
from gpt.runner.corpora import Corpora
from gpt.runner.seed_batch import train_seed_batch
from gpt.runner.workspace import Workspace
from gpt.study.folder import run_at
from gpt.study.plan import PlannedRun


def planned(config: RunConfig) -> PlannedRun:
    sha = load_dataset(config.data, config.model.context, default_cache()).sha256
    return PlannedRun("x", (), config.seed, config, fingerprint(config, sha))


def place(out: Path) -> Workspace:
    return Workspace(out, Corpora(default_cache()), torch.device("cpu"))


def stop_after(steps: int) -> Callable[[], bool]:
    calls = iter(range(10_000))
    return lambda: next(calls) >= steps - 1


def never() -> bool:
    return False


def trained(config: RunConfig, out: Path) -> RunFolder:
    run = planned(config)
    assert train_seed_batch([run], place(out), never)
    return run_at(out, run.fingerprint)


def rows(run: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


def last_weights(run: RunFolder) -> str:
    return str(read_json(run.run_json)["final_weights_sha256"])
