"""How steps are computed in runs that leave it open (`train.step: auto`): picked once, kept in the output folder.

All runs of a study have one pick, so that no two of them differ in it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from gpt.config import RunConfig, with_values
from gpt.errors import InputError
from gpt.records.files import read_json, write_json
from gpt.study.plan import PlannedRun
from gpt.yaml_file import Strict, parse

OPEN = "auto"
PLAIN = "eager"

Measure = Callable[[PlannedRun], Mapping[str, list[float]]]
"""seconds of steps of a run, in every way of computing them"""


class StepPick(Strict):
    """What was picked, on which evidence, for which runs."""

    picked: str
    """what `train.step` means by auto"""
    device: str
    torch: str
    seeds_together: int
    seconds: dict[str, list[float]]
    """of one step in each way, measured in turns; empty where there was no choice"""
    measured_on: str
    """fingerprint of the run that was measured"""
    runs: list[str]
    """fingerprints that it holds for"""


class StepPicks(Strict):
    picks: list[StepPick]


def picks_file(out: Path) -> Path:
    return out / "step_picks.json"


def read_picks(out: Path) -> list[StepPick]:
    """What was picked so far in an output folder.

    Raises:
        InputError: the file is corrupt.
    """
    path = picks_file(out)
    return list(parse(StepPicks, read_json(path), str(path)).picks) if path.exists() else []


def with_pick(planned: PlannedRun, out: Path) -> RunConfig:
    """The run's configuration, with its own way of computing steps or the one that was picked.

    Raises:
        InputError: see `read_picks`.
    """
    if planned.config.train.step != OPEN:
        return planned.config
    picked = [pick.picked for pick in read_picks(out) if planned.fingerprint in pick.runs]
    return with_values(planned.config, {"train.step": picked[-1] if picked else PLAIN}, "train.step")


def pick_step(
    runs: Sequence[PlannedRun], out: Path, device: torch.device, seeds_together: int, measure: Measure | None
) -> StepPick:
    """Pick for runs that leave it open, by measuring the first, unless it was picked for one of them before.

    Args:
        measure: None where there is nothing to choose from.

    Raises:
        InputError: a run was begun on another device or with another torch; see also `read_picks`.
    """
    names = [run.fingerprint for run in runs]
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    picks = read_picks(out)
    mine = next((pick for pick in picks if set(pick.runs) & set(names)), None)
    if mine and (mine.device, mine.torch) != (where, torch.__version__):
        raise InputError(
            f"{picks_file(out)}: picked on {mine.device} with torch {mine.torch}, now it is {where} with "
            f"{torch.__version__}; results of the two are not merged: use another --out"
        )
    if mine is None:
        seconds = {} if measure is None else {way: list(taken) for way, taken in measure(runs[0]).items()}
        fastest = min(seconds, key=lambda way: sorted(seconds[way])[len(seconds[way]) // 2], default=PLAIN)
        mine = StepPick(
            picked=fastest, device=where, torch=torch.__version__, seeds_together=seeds_together, seconds=seconds,
            measured_on=runs[0].fingerprint, runs=[],
        )  # fmt: skip
    else:
        picks.remove(mine)
    mine = mine.model_copy(update={"runs": sorted({*mine.runs, *names})})
    write_json(picks_file(out), {"picks": [pick.model_dump(mode="json") for pick in (*picks, mine)]})
    return mine
