"""What a study costs on many GPUs, simulated from the costs that `gpt bench` measured on one.

python -m gpt.bench.scale BENCH.json [--gpus 8,64,1024] [--seeds-together 10] [--runs-per-gpu 20] [--json]

Processes take seed batches from one counter, as `gpt study run` on several nodes does: each starts up, reading its
files from a file system that all share, and takes the next batch as soon as it is free. What a batch costs is what was
measured: its steps, and everything that its runs do besides. Two numbers are assumed and not measured, how many files a
shared file system opens and how many it commits in a second; they are options, and part of the answer.
"""

import argparse
import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PER_SEED = ("recording", "records of an evaluation", "checkpoint", "use of context")
"""parts that a process does for one seed after another; the others take as much longer for all as a step does"""
COMMITTED = ("records of an evaluation", "checkpoint")
"""parts that wait for the file system"""
WIDTHS = (6, 7, 9, 9, 9, 9, 9, 9, 9)


@dataclass(frozen=True)
class FileSystem:
    """What all processes share."""

    opens_per_second: float = 50_000.0
    commits_per_second: float = 500.0


@dataclass(frozen=True)
class Costs:
    """Seconds of one process with its seed batch, by what they are for."""

    start_up: float
    files: int
    """opened in a start-up"""
    steps: float
    evaluation: float
    """evaluations and probes"""
    host: float
    """recording, texts, use of context"""
    commits: float
    """waiting for files to be durable, where no other process commits"""
    committed: int
    """how often"""

    @classmethod
    def of(cls, bench: Mapping[str, Any], seeds: int) -> "Costs":
        """Those of a bench document, of the fastest measured way with up to so many seeds together."""
        measured = [cost for cost in bench["steps"] if cost["seeds"] <= seeds and not cost["deterministic"]]
        best = min(measured, key=lambda cost: cost["seconds"]["median"] / cost["seeds"])
        more = seeds / best["seeds"]
        ratio = more * best["seconds"]["median"] / bench["steps"][0]["seconds"]["median"]
        sums, committed = {"evaluation": 0.0, "host": 0.0, "commits": 0.0}, 0
        for part in bench["parts"]:
            if part["name"].startswith("probe "):  # counted together
                continue
            alone = part["name"].startswith(PER_SEED)
            seconds = part["times"] * part["seconds"]["median"] * (seeds if alone else ratio)
            if part["name"].startswith(COMMITTED):
                sums["commits"] += seconds
                committed += round(part["times"]) * seeds
            else:
                sums["host" if alone or part["name"] == "sample" else "evaluation"] += seconds
        return cls(
            start_up=bench["start_up"]["seconds"]["median"],
            files=bench["start_up"]["files"],
            steps=bench["config"]["train"]["steps"] * more * best["seconds"]["median"],
            committed=committed,
            **sums,
        )


@dataclass(frozen=True)
class Simulated:
    """How long it takes, and what the processes' time goes to, as shares of all their time."""

    gpus: int
    runs: int
    seconds: float
    """until the last batch is done"""
    steps: float
    start_up: float
    evaluation: float
    host: float
    commits: float
    idle: float
    """at the end, when no batch is left to take"""
    first_bottleneck: str
    """the largest share that is not steps"""


def place(durations: Sequence[float], processes: int, start: float) -> tuple[list[int], list[float]]:
    """Which process takes each batch, and when each process has nothing left to take.

    Args:
        durations: of the batches, in the order in which they are taken.
        start: when the processes are ready.
    """
    free = [(start, process) for process in range(processes)]
    taken = []
    for duration in durations:
        at, process = heapq.heappop(free)
        heapq.heappush(free, (at + duration, process))
        taken.append(process)
    return taken, [at for at, _ in sorted(free, key=lambda pair: pair[1])]


def simulate(costs: Costs, gpus: int, batches: int, seeds: int, files: FileSystem) -> Simulated:
    """A study of so many seed batches."""
    start = max(costs.start_up, gpus * costs.files / files.opens_per_second)
    busy = costs.steps + costs.evaluation + costs.host
    # processes that commit at once wait for each other: no batch is shorter than the file system needs for one of each
    active = min(gpus, batches)
    commits = max(costs.commits, active * costs.committed / files.commits_per_second - busy)
    _, ends = place([busy + commits] * batches, gpus, start)
    last = max(ends)
    total = gpus * last
    shares = {
        "steps": batches * costs.steps / total,
        "start_up": gpus * start / total,
        "evaluation": batches * costs.evaluation / total,
        "host": batches * costs.host / total,
        "commits": batches * commits / total,
        "idle": sum(last - end for end in ends) / total,
    }
    bottleneck = max((name for name in shares if name != "steps"), key=lambda name: shares[name])
    return Simulated(gpus, batches * seeds, last, first_bottleneck=bottleneck, **shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bench", type=Path, help="what gpt bench --json printed")
    parser.add_argument("--gpus", default="8,64,1024")
    parser.add_argument("--seeds-together", type=int, default=10)
    parser.add_argument("--runs-per-gpu", type=float, default=20.0)
    parser.add_argument("--opens-per-second", type=float, default=FileSystem.opens_per_second)
    parser.add_argument("--commits-per-second", type=float, default=FileSystem.commits_per_second)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        bench = json.loads(options.bench.read_text())
        costs = Costs.of(bench, options.seeds_together)
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"{options.bench}: must be what gpt bench --json of this version printed: {error!r}")
    files = FileSystem(options.opens_per_second, options.commits_per_second)
    found = [
        simulate(
            costs, gpus, max(1, round(gpus * options.runs_per_gpu / options.seeds_together)), options.seeds_together,
            files,
        )
        for gpus in map(int, options.gpus.split(","))
    ]  # fmt: skip
    if options.json:
        machine = {key: bench["machine"][key] for key in ("device", "gpu", "cpu", "torch")}
        about = {"run": bench["run"], "machine": machine, "seeds_together": options.seeds_together}
        print(json.dumps({**about, "costs": asdict(costs), "file_system": asdict(files),
                          "simulated": [asdict(one) for one in found]}, indent=1))  # fmt: skip
        return
    titles = ("GPUs", "runs", "seconds", "steps", "start-up", "evaluation", "host", "commits", "idle")
    print("".join(title.rjust(width + 2) for title, width in zip(titles, WIDTHS, strict=True)), " first bottleneck")
    for one in found:
        shares = (one.steps, one.start_up, one.evaluation, one.host, one.commits, one.idle)
        cells = [str(one.gpus), str(one.runs), f"{one.seconds:,.0f}", *(f"{share:.1%}" for share in shares)]
        line = "".join(cell.rjust(width + 2) for cell, width in zip(cells, WIDTHS, strict=True))
        print(line, "", one.first_bottleneck.replace("_", "-"))


if __name__ == "__main__":
    main()
