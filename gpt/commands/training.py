"""Commands that train: one run, or the missing cells of studies."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gpt.commands.studies import open_study
from gpt.commands.workspace import cache_folder, find_launch, leads, make_layout, make_place
from gpt.config import RunConfig, fingerprint, load_run
from gpt.errors import InputError
from gpt.runner.launch.exit_codes import CELLS_FAILED, DONE, STOPPED

if TYPE_CHECKING:
    from gpt.runner.launch.accelerate import Launch
    from gpt.runner.layout import Layout
    from gpt.runner.workspace import Place
    from gpt.study.plan import PlannedCell
    from gpt.wandb_sync.targets import Destination


NAMED = 20
"""cells without a result that are named one by one"""


def train(options: argparse.Namespace) -> int:
    """Train one run; any field can be set as --optim.lr 3e-4."""
    config = load_run(options.run, options.overrides)
    if options.fields:
        return show_fields(options.run, config)
    from gpt.runner.inputs import load_data
    from gpt.study.folder import cell_at
    from gpt.study.plan import PlannedCell
    from gpt.wandb_sync.start import mirrored

    mirror_to = destination(options)
    launch = find_launch()
    data = load_data(config, cache_folder())
    place = make_place(options, launch)
    cell = PlannedCell(options.run.stem, (), config.seed, config, fingerprint(config, data.sha256))
    if launch is None:
        options.processes = str(options.ranks_per_run or 1)
    elif options.ranks_per_run is None:
        options.ranks_per_run = launch.world
    layout = make_layout(options, place, launch, [cell])
    with mirrored(mirror_to([], [cell.fingerprint]), leads(launch)) as mirror:
        code = run_planned([cell], place, launch, layout)
        mirror.hurry = code == STOPPED
    if code == DONE and leads(launch):
        folder = cell_at(options.out, cell.fingerprint)
        status = folder.read_status()
        print(f"{status.state}: {folder.root}" + (f" ({status.why})" if status.why else ""))
    return code


def show_fields(path: Path, config: RunConfig) -> int:
    import tyro

    tyro.cli(RunConfig, prog=f"gpt train {path}", default=config, args=["--help"])
    return DONE


def run_studies(options: argparse.Namespace) -> int:
    """Train every missing cell of the studies, then report; run again, it does only what is missing."""
    from gpt.report.build import print_findings
    from gpt.runner.checks.verify import refuse_damaged
    from gpt.study.folder import StudyFolder, cell_at
    from gpt.wandb_sync.start import mirrored

    mirror_to = destination(options)
    opened = [open_study(path, options.seeds) for path in options.studies]
    names = [study.name for study, _, _ in opened]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two of the studies are named {name}; each needs a name of its own")
    launch = find_launch()
    place = make_place(options, launch)
    unique = list({cell.fingerprint: cell for _, cells, _ in opened for cell in cells}.values())
    unique.sort(key=lambda cell: cell.seed)
    layout = make_layout(options, place, launch, unique)
    folders = [StudyFolder(place.out, study.name) for study, _, _ in opened]
    if leads(launch):
        for folder, (study, cells, data_sha256) in zip(folders, opened, strict=True):
            folder.start(study, data_sha256, cells)
    missing = sum(not cell_at(place.out, cell.fingerprint).finished for cell in unique)
    with mirrored(mirror_to(names), leads(launch)) as mirror:
        code = run_planned(unique, place, launch, layout)
        mirror.hurry = code == STOPPED
        if code == STOPPED or not leads(launch):
            return code
        refuse_damaged(folders)
        if missing == 0 and all(folder.findings.exists() for folder in folders):
            print(f"report: {place.out / 'report.md'}")
            return code
        try:
            print_findings(place.out, folders)
        except OSError as error:
            print(f"gpt: the report cannot be written: {error}; `gpt study report` writes it later", file=sys.stderr)
            code = CELLS_FAILED
    return code


def run_planned(cells: "Sequence[PlannedCell]", place: "Place", launch: "Launch | None", layout: "Layout") -> int:
    """Train what is missing, say what could not be done, and return the exit code."""
    from gpt.runner.run import train_cells
    from gpt.study.plan import describe

    outcome = train_cells(cells, place, launch, layout)
    if not leads(launch):
        return STOPPED if outcome.stopped else DONE
    if outcome.stopped:
        print("stopped on request; run the same command again to go on", file=sys.stderr)
        return STOPPED
    for cell, why in outcome.unfinished[:NAMED]:
        print(f"not done: {describe(cell)}, cell {cell.fingerprint}: {why}", file=sys.stderr)
    if (unnamed := len(outcome.unfinished) - NAMED) > 0:
        print(f"not done: {unnamed} more; `gpt study status {place.out}` counts them", file=sys.stderr)
    if outcome.elsewhere:
        print(
            f"left to the commands that are training them: {outcome.elsewhere} of {len(cells)} cells", file=sys.stderr
        )
    return CELLS_FAILED if outcome.unfinished else DONE


def destination(options: argparse.Namespace) -> "Callable[..., Destination]":
    """Where in W&B studies and lone cells go, as the command line and the environment ask for."""
    from gpt.wandb_sync.targets import Destination, read_mode, read_project

    mode, project = read_mode(options.wandb, os.environ), read_project(os.environ)
    return partial(Destination, options.out, mode, project)
