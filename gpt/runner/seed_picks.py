"""How many seeds train together where that is left open (`--seeds-per-process auto`) on a GPU: measured once, kept in
the output folder.

All runs of a study have one pick, so that a study that is resumed, or gets more seeds, is computed as before.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch

from gpt.records.files import read_json, write_json
from gpt.study.plan import PlannedRun
from gpt.yaml_file import Strict, parse

WORTH = 1.05
"""a doubling of the seeds that makes a seed's step less than that much faster is not worth it"""

Measure = Callable[[PlannedRun, int], list[float]]
"""seconds of steps of a run and so many seeds together"""


class SeedPick(Strict):
    """What was picked, on which evidence, for which runs."""

    seeds: int
    """that train together at most"""
    device: str
    torch: str
    limit: int
    """more than that would not fit into the device's memory, by prediction, or leave other devices idle"""
    seconds: dict[int, list[float]]
    """of one step, by the number of seeds together; empty where there was no choice"""
    measured_on: str
    """fingerprint of the run that was measured"""
    runs: list[str]
    """fingerprints that it holds for"""


class SeedPicks(Strict):
    picks: list[SeedPick]


def seed_picks_file(out: Path) -> Path:
    return out / "seed_picks.json"


def read_seed_picks(out: Path) -> list[SeedPick]:
    """What was picked so far in an output folder.

    Raises:
        InputError: the file is corrupt.
    """
    path = seed_picks_file(out)
    return list(parse(SeedPicks, read_json(path), str(path)).picks) if path.exists() else []


def pick_seeds(
    runs: Sequence[PlannedRun], out: Path, device: torch.device, limit: Callable[[], int], measure: Measure
) -> SeedPick:
    """Pick for runs by measuring the first, unless it was picked for one of them before, on the same kind of device.

    Args:
        limit: the most seeds that may train together.

    Raises:
        InputError: see `read_seed_picks`.
    """
    names = [run.fingerprint for run in runs]
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    picks = read_seed_picks(out)
    mine = next((pick for pick in picks if pick.device == where and set(pick.runs) & set(names)), None)
    if mine is None:
        most = limit()
        seconds = _measure(runs[0], most, measure)
        mine = SeedPick(
            seeds=_picked(seconds, most), device=where, torch=torch.__version__, limit=most, seconds=seconds,
            measured_on=runs[0].fingerprint, runs=[],
        )  # fmt: skip
    else:
        picks.remove(mine)
    mine = mine.model_copy(update={"runs": sorted({*mine.runs, *names})})
    write_json(seed_picks_file(out), {"picks": [pick.model_dump(mode="json") for pick in (*picks, mine)]})
    return mine


def _measure(run: PlannedRun, most: int, measure: Measure) -> dict[int, list[float]]:
    """Time 1, 2, 4, ... seeds together and at last the most, as long as more are worth it."""
    counts = [2**power for power in range(most.bit_length()) if 2**power < most]
    seconds: dict[int, list[float]] = {}
    for count in [*counts, most] if counts else []:
        try:
            seconds[count] = measure(run, count)
        except torch.OutOfMemoryError:
            if not seconds:
                raise
            break
        if len(seconds) > 1 and _picked(seconds, most) < count:
            break
    return seconds


def _picked(seconds: dict[int, list[float]], most: int) -> int:
    """The last number of seeds that was worth it over the one before."""
    if not seconds:
        return most
    picked, *more = seconds
    for count in more:
        if median(seconds[picked]) / picked < WORTH * median(seconds[count]) / count:
            break
        picked = count
    return picked
