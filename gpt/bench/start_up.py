"""From a command to its first training step, in a process of its own.

python -m gpt.bench.start_up RUN.yaml DEVICE THREADS [--key value ...]
"""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt.bench.spread import Spread
from gpt.commands.surroundings import import_path
from gpt.errors import InputError

STAGES = ("imports", "text", "model", "first step")


@dataclass(frozen=True)
class StartUp:
    """What passes before the second step, and what memory a run of one seed takes."""

    seconds: Spread
    """from the start of a process to the end of its first step, and its own end"""
    stages: dict[str, Spread]
    """its parts, in order; the rest of the time, Python itself starts and ends"""
    files: int
    """that Python opened in it, which a file system that many processes share has to serve"""
    peak_memory: int
    """bytes of the whole process, on a GPU of the GPU's memory"""


def last_line(said: str) -> str:
    """The end of what a process that failed said: of a traceback its error."""
    return said.strip().rpartition("\n")[2]


def measure_start_up(run: Path, overrides: Sequence[str], device: str, threads: int, times: int) -> StartUp:
    """Start so many processes, one after the other.

    Raises:
        InputError: one of them failed; its last line is in the message.
    """
    command = [sys.executable, "-m", __name__, str(run), device, str(threads), *overrides]
    seconds, told = [], []
    for _ in range(times):
        began = time.perf_counter()
        ended = subprocess.run(
            command, env={**os.environ, **import_path()}, capture_output=True, text=True, check=False
        )
        seconds.append(time.perf_counter() - began)
        if ended.returncode:
            raise InputError(f"gpt bench: a process that starts training failed: {last_line(ended.stderr)}")
        told.append(json.loads(ended.stdout))
    stages = {name: Spread.of([one["stages"][name] for one in told]) for name in STAGES}
    return StartUp(
        Spread.of(seconds), stages, max(one["files"] for one in told), max(one["peak_memory"] for one in told)
    )


def main() -> None:
    marks, files = [time.perf_counter()], itertools.count()

    def count(event: str, _: object) -> None:
        if event == "open":
            next(files)

    sys.addaudithook(count)
    run, device, threads, *overrides = sys.argv[1:]
    import torch

    from gpt.bench.device import peak_memory
    from gpt.bench.steps import TrainingSteps
    from gpt.commands.workspace import open_corpora
    from gpt.run_file import read_run_file
    from gpt.runner.checks.variants import check_variants
    from gpt.runner.workspace import Workspace

    torch.set_num_threads(int(threads))
    config = read_run_file(Path(run), overrides)
    check_variants(config)
    marks.append(time.perf_counter())
    corpora = open_corpora()
    data = corpora.load(config)
    marks.append(time.perf_counter())
    steps = TrainingSteps(config, data, Workspace(Path(), corpora, torch.device(device)), [config.seed])
    marks.append(time.perf_counter())
    steps.take(1)
    steps.synchronize()
    marks.append(time.perf_counter())
    stages = dict(zip(STAGES, (b - a for a, b in itertools.pairwise(marks)), strict=True))
    print(json.dumps({"stages": stages, "files": next(files), "peak_memory": peak_memory(steps.engine.device)}))


if __name__ == "__main__":
    main()
