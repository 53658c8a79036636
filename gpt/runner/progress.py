"""What is running, how many runs are done and when it will end: one line on a terminal, one line a run elsewhere."""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tqdm import tqdm

from gpt.analysis.run_reader import RunReader
from gpt.errors import InputError
from gpt.records.formatting import lasting
from gpt.records.metric import parse_metric
from gpt.records.run_folder import RunFolder
from gpt.study.folder import run_at
from gpt.study.plan import PlannedRun, describe

LOWEST = parse_metric("val/loss.min")


class Progress:
    """Follows the runs' states on disk, whichever process is working on them."""

    def __init__(self, runs: Sequence[PlannedRun], out: Path):
        self._names = {c.fingerprint: describe(c) for c in runs}
        self._steps = {c.fingerprint: c.config.train.steps for c in runs}
        self._runs = {c.fingerprint: run_at(out, c.fingerprint) for c in runs}
        self._total = sum(self._steps.values())
        self._ended = {f for f, run in self._runs.items() if run.finished}
        self._from = {f: run.read_status().step for f, run in self._runs.items() if f not in self._ended}
        """steps that this command found done; fewer, once a run that was killed goes on from its checkpoint"""
        self._began = time.monotonic()
        self._bar = tqdm(
            total=self._total,
            initial=self._steps_done(),
            disable=None,
            bar_format="{percentage:3.0f}%|{bar:20}| {postfix}, {elapsed} gone, {remaining} left",
            postfix="starting",
        )

    def _steps_done(self) -> int:
        done = sum(self._steps[f] for f in self._ended)
        return done + sum(self._runs[f].read_status().step for f in self._runs if f not in self._ended)

    def update(self) -> None:
        """Look at every run that had not ended and show what is new."""
        running = []
        for fingerprint, run in self._runs.items():
            if fingerprint in self._ended:
                continue
            status = run.read_status()
            self._from[fingerprint] = min(self._from[fingerprint], status.step)
            if status.state == "running":
                running.append(f"{self._names[fingerprint]} ({100 * status.step // max(1, status.steps)}%)")
            elif status.finished:
                self._ended.add(fingerprint)
                self._say(f"{self._names[fingerprint]}: {status.state} after {lasting(status.seconds)}{_lowest(run)}")
        done = self._steps_done()
        self._bar.set_postfix_str(f"{len(self._ended)}/{len(self._runs)} runs, now {', '.join(running) or 'none'}")
        self._bar.update(done - self._bar.n)

    def _say(self, what: str) -> None:
        if self._bar.disable:
            gone, done = time.monotonic() - self._began, self._steps_done()
            before = sum(self._from.values()) + sum(self._steps[f] for f in self._ended - self._from.keys())
            left = gone * (self._total - done) / max(1, done - before)
            until = f"about {lasting(left)} left"
            print(f"[{len(self._ended)}/{len(self._runs)}] {what}; {until}", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()


def _lowest(run: RunFolder) -> str:
    """What it came to; nothing of a run that was never evaluated, or whose records are corrupt, which others report."""
    try:
        loss = RunReader(run).reduced(LOWEST)
    except InputError:
        return ""
    return f", lowest validation loss {loss:.4f}" if math.isfinite(loss) else ""
