"""What `auto` means for the runs of an output folder: how steps are computed (`train.step`), and how many seeds train
together on a GPU (`--seeds-per-process`). Each is measured once, and kept in a file of the folder.

All runs of a study have one pick of each kind, so that one that is resumed, or gets more seeds, is computed as before.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Generic, TypeVar

import torch

from gpt.config import RunConfig, with_values
from gpt.errors import InputError
from gpt.records.files import read_json, write_json
from gpt.runner.stack import device_name
from gpt.study.plan import PlannedRun
from gpt.yaml_file import Strict, parse

OPEN = "auto"
PLAIN = "eager"
WORTH = 1.05
"""a doubling of the seeds that makes a seed's step less than that much faster is not worth it"""

TimeModes = Callable[[PlannedRun], Mapping[str, list[float]]]
"""seconds of steps of a run, in every way of computing them"""
TimeSeeds = Callable[[PlannedRun, int], list[float]]
"""seconds of steps of a run and so many seeds together"""


class Pick(Strict):
    """On which evidence something was picked, and for which runs."""

    device: str
    torch: str
    measured_on: str
    """fingerprint of the run that was measured"""
    runs: list[str]
    """fingerprints that it holds for"""


class StepPick(Pick):
    """How steps are computed."""

    picked: str
    """what `train.step` means by auto"""
    seeds_together: int
    seconds: dict[str, list[float]]
    """of one step in each way, measured in turns; empty where there was no choice"""


class SeedPick(Pick):
    """How many seeds train together."""

    seeds: int
    """that train together at most"""
    limit: int
    """more than that would not fit into the device's memory, by prediction, or leave other devices idle"""
    seconds: dict[int, list[float]]
    """of one step, by the number of seeds together; empty where there was no choice"""


P = TypeVar("P", bound=Pick)


class _Picks(Strict, Generic[P]):
    picks: list[P]


class PickFile(Generic[P]):
    """The picks of one kind in an output folder."""

    def __init__(self, path: Path, kind: type[P]):
        self.path, self._content = path, _Picks[kind]  # type: ignore[valid-type]

    def read(self) -> list[P]:
        """Those so far.

        Raises:
            InputError: the file is corrupt.
        """
        if not self.path.exists():
            return []
        return list(parse(self._content, read_json(self.path), str(self.path)).picks)

    def of_any(self, runs: Sequence[PlannedRun]) -> list[P]:
        """Those that hold for one of the runs."""
        names = {run.fingerprint for run in runs}
        return [pick for pick in self.read() if names & set(pick.runs)]

    def keep(self, pick: P, runs: Sequence[PlannedRun]) -> P:
        """Write down that a pick, new or one of these, holds for the runs too."""
        others = [one for one in self.read() if one != pick]
        pick = pick.model_copy(update={"runs": sorted({*pick.runs, *(run.fingerprint for run in runs)})})
        write_json(self.path, {"picks": [one.model_dump(mode="json") for one in (*others, pick)]})
        return pick


def step_picks(out: Path) -> PickFile[StepPick]:
    return PickFile(out / "step_picks.json", StepPick)


def seed_picks(out: Path) -> PickFile[SeedPick]:
    return PickFile(out / "seed_picks.json", SeedPick)


def with_pick(planned: PlannedRun, out: Path) -> RunConfig:
    """The run's configuration, with its own way of computing steps or the one that was picked.

    Raises:
        InputError: see `PickFile.read`.
    """
    if planned.config.train.step != OPEN:
        return planned.config
    picks = step_picks(out).of_any([planned])
    return with_values(planned.config, {"train.step": picks[-1].picked if picks else PLAIN}, "train.step")


def pick_step(
    runs: Sequence[PlannedRun], out: Path, device: torch.device, seeds_together: int, measure: TimeModes | None
) -> StepPick:
    """Pick for runs that leave it open, by measuring the first, unless it was picked for one of them before.

    Args:
        measure: None where there is nothing to choose from.

    Raises:
        InputError: a run was begun on another device or with another torch; see also `PickFile.read`.
    """
    file, here = step_picks(out), device_name(device)
    mine = next(iter(file.of_any(runs)), None)
    if mine is None:
        seconds = {} if measure is None else {way: list(taken) for way, taken in measure(runs[0]).items()}
        mine = StepPick(
            picked=min(seconds, key=lambda way: median(seconds[way]), default=PLAIN), seeds_together=seeds_together,
            seconds=seconds, device=here, torch=torch.__version__, measured_on=runs[0].fingerprint, runs=[],
        )  # fmt: skip
    elif (mine.device, mine.torch) != (here, torch.__version__):
        raise InputError(
            f"{file.path}: picked on {mine.device} with torch {mine.torch}, now it is {here} with "
            f"{torch.__version__}; results of the two are not merged: use another --out"
        )
    return file.keep(mine, runs)


def pick_seeds(
    runs: Sequence[PlannedRun], out: Path, device: torch.device, limit: Callable[[], int], measure: TimeSeeds
) -> SeedPick:
    """Pick for runs by measuring the first, unless it was picked for one of them before, on the same kind of device.

    Args:
        limit: the most seeds that may train together.

    Raises:
        InputError: see `PickFile.read`.
    """
    file, here = seed_picks(out), device_name(device)
    mine = next((pick for pick in file.of_any(runs) if pick.device == here), None)
    if mine is None:
        most = limit()
        seconds = _time_more_seeds(runs[0], most, measure)
        mine = SeedPick(
            seeds=_last_worth_it(seconds, most), limit=most, seconds=seconds, device=here, torch=torch.__version__,
            measured_on=runs[0].fingerprint, runs=[],
        )  # fmt: skip
    return file.keep(mine, runs)


def _time_more_seeds(run: PlannedRun, most: int, measure: TimeSeeds) -> dict[int, list[float]]:
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
        if len(seconds) > 1 and _last_worth_it(seconds, most) < count:
            break
    return seconds


def _last_worth_it(seconds: Mapping[int, list[float]], most: int) -> int:
    """The last number of seeds that was worth it over the one before."""
    if not seconds:
        return most
    picked, *more = seconds
    for count in more:
        if median(seconds[picked]) / picked < WORTH * median(seconds[count]) / count:
            break
        picked = count
    return picked
