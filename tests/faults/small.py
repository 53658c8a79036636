"""A run that trains in a tenth of a second and writes every kind of file. The real worker trains it, in here."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from children import Say
from commands import records
from tally import Tally
from tiny import SMALLEST, write_run

from gpt.config import RunConfig, with_values
from gpt.data.corpus import default_cache
from gpt.fingerprint import fingerprint
from gpt.records.jsonl import read_jsonl
from gpt.records.run_folder import RunFolder
from gpt.run_file import read_run_file
from gpt.runner.corpora import Corpora
from gpt.runner.ranks.group import RankGroup, RankPosition
from gpt.runner.worker import work
from gpt.runner.workspace import Workspace
from gpt.study.folder import run_at
from gpt.study.plan import PlannedRun
from gpt.train import checkpoint


@dataclass(frozen=True)
class Small:
    """One run, or a few that differ in their seeds, and what they leave when nothing disturbs them."""

    runs: tuple[PlannedRun, ...]
    whole: dict[str, bytes]
    """the records of an undisturbed training, see `commands.records`"""

    def train(self, out: Path, stop: Callable[[], bool] = lambda: False, together: bool = False) -> None:
        """Do what is missing, as a worker does."""
        train(self.runs, out, stop, together)

    def train_until(self, out: Path, step: int) -> None:
        """Stop after a step: a worker asks whether to twice before the first step, and once after each."""
        asked = iter(range(-2, 100))
        self.train(out, lambda: next(asked) >= step - 1)

    def states(self, out: Path) -> list[str]:
        return [self.run(out, index).read_status().state for index in range(len(self.runs))]

    def run(self, out: Path, index: int = 0) -> RunFolder:
        return run_at(out, self.runs[index].fingerprint)

    def check(self, out: Path) -> None:
        """Every run is finished, and each of its files has the bytes of an undisturbed training."""
        found = records(out)
        changed = [name for name in self.whole if found.get(name) != self.whole[name]]
        assert found == self.whole, changed or sorted(set(found) - set(self.whole))


def plan(excerpt: Path, seeds: Sequence[int], **values: object) -> tuple[PlannedRun, ...]:
    """The run of each seed, with some fields changed."""
    with tempfile.TemporaryDirectory() as folder:
        base = read_run_file(write_run(Path(folder) / "run.yaml", excerpt, SMALLEST, model={"dropout": 0.1}))
    return tuple(run_of(with_values(base, {**values, "seed": seed}, "small")) for seed in seeds)


def run_of(config: RunConfig) -> PlannedRun:
    data = Corpora(default_cache()).load(config)
    return PlannedRun("small", (), config.seed, config, fingerprint(config, data.sha256))


def train(runs: Sequence[PlannedRun], out: Path, stop: Callable[[], bool], together: bool) -> None:
    seed_batches = [runs] if together else [[run] for run in runs]
    workspace = Workspace(out, Corpora(default_cache()), torch.device("cpu"))
    work(seed_batches, workspace, RankGroup(RankPosition(0, 1, 1), dist.HashStore(), "gloo", 60.0, stop), stop)


def make(folder: Path, excerpt: Path, seeds: Sequence[int] = (0,), together: bool = False, **values: object) -> Small:
    """Plan the runs, and train them undisturbed."""
    runs = plan(excerpt, seeds, **values)
    train(runs, folder, lambda: False, together)
    return Small(runs, records(folder))


def committed(run: RunFolder) -> set[int]:
    """The steps that have a checkpoint which verifies."""
    return set(checkpoint.find(run.checkpoints)[0])


def rows_wrong(small: Small, out: Path) -> int:
    """Rows of metrics and events that are lost, doubled or changed, beside an undisturbed training."""
    wrong = 0
    for name, content in small.whole.items():
        if name.endswith(".jsonl"):
            before, after = content.splitlines(), (out / name).read_bytes().splitlines()
            wrong += sum(x != y for x, y in zip(before, after, strict=False)) + abs(len(before) - len(after))
    return wrong


def say_commits(say: Say) -> None:
    """From here on each commit of a checkpoint is told when it has returned."""
    original = checkpoint.commit

    def commit(root: Path, step: int, tensors: Mapping[str, Any], meta: Mapping[str, Any]) -> Path:
        folder = original(root, step, tensors, meta)
        say(step)
        return folder

    checkpoint.commit = commit


def check_nothing_lost(faults: Tally, small: Small, out: Path, told: list[int]) -> None:
    """What was committed is there; training on leaves the files of an undisturbed training."""
    run = small.run(out)
    if told and not run.finished:
        kept = committed(run)
        again = len(read_jsonl(run.metrics)) - 1 - max(kept)
        faults.saw("committed steps lost", 0 if told[-1] in kept else told[-1] - max(kept, default=0))
        faults.saw("steps trained again", again)
        assert told[-1] in kept
        assert again <= small.runs[0].config.train.checkpoint_every
    small.train(out)
    faults.saw("rows lost, doubled or changed", rows_wrong(small, out))
    small.check(out)
