"""Commands that train: one run, or the missing runs of studies."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from gpt.commands.studies import open_study
from gpt.commands.workspace import Setup, open_corpora, set_up
from gpt.config import BUILT_IN, SOURCE, RunConfig
from gpt.errors import InputError
from gpt.fields import field_of, flatten, keys_of
from gpt.fingerprint import fingerprint
from gpt.records.schema import VAL_LOSS
from gpt.run_file import read_run_file
from gpt.runner.launch.exit_codes import DONE, RUNS_FAILED, STOPPED

if TYPE_CHECKING:
    from gpt.records.run_folder import RunFolder
    from gpt.runner.stages import Stage, Stages
    from gpt.study.plan import PlannedRun
    from gpt.wandb_sync.targets import Destination


NAMED = 20
"""runs without a result that are named one by one"""


def train(options: argparse.Namespace) -> int:
    """Train one run."""
    config = read_run_file(options.run, options.overrides)
    if options.fields:
        return show_fields(config)
    from gpt.runner.checks.variants import check_variants
    from gpt.study.folder import run_at
    from gpt.study.plan import PlannedRun
    from gpt.wandb_sync.start import synced

    check_variants(config)
    to = destination(options)
    corpora = open_corpora()
    data = corpora.load(config)
    run = PlannedRun(options.run.stem, (), config.seed, config, fingerprint(config, data.sha256))
    options.seeds_per_process, options.processes = "1", "auto"
    here = set_up(options, [run], corpora, together=True)
    with synced(to([], [run.fingerprint]), here.is_main) as syncing:
        code = run_planned([run], here)
        syncing.short_timeout = code == STOPPED
    if code == DONE and here.is_main:
        folder = run_at(options.out, run.fingerprint)
        status = folder.read_status()
        print_best(folder)
        print(f"{status.state}: {folder.root}" + (f" ({status.why})" if status.why else ""))
    return code


def print_best(folder: "RunFolder") -> None:
    """Say how low the validation loss of a finished run was, when, and what the test loss was then."""
    import numpy as np

    from gpt.analysis.run_reader import RunReader
    from gpt.records.metric import parse_metric

    run = RunReader(folder)
    steps, losses = run.curve(VAL_LOSS)
    if np.isfinite(losses).any():
        best = int(np.nanargmin(losses))
        test = run.reduced(parse_metric("test/loss.at_best_val"))
        there = f"; test loss there: {test:.4f}" if np.isfinite(test) else ""
        print(f"lowest validation loss: {losses[best]:.4f} nats per character, at step {steps[best]:,}{there}")


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line of `gpt train` as its own words and the pairs that set fields of the run.

    A field's value may look like anything, an option too, so that only names tell.
    """
    own: list[str] = []
    overrides: list[str] = []
    left = iter(words)
    for word in left:
        name, equals, _ = word.partition("=")
        if not name.startswith("--") or ("." not in name and name[2:] not in keys_of(RunConfig)):
            own.append(word)
            continue
        overrides += [word] if equals else [word, *islice(left, 1)]
    return own, overrides


def show_fields(config: RunConfig) -> int:
    """Print every field as the command line takes it, with its meaning."""
    values = flatten(config)
    for key in keys_of(RunConfig):
        field = field_of(RunConfig, key)
        literals = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        words = config.names(key) if key in BUILT_IN else literals
        print(f"--{key} {shell_word(values[key])}\n    {' '.join((field.description or '').split())}")
        if words:
            print(f"    one of {', '.join(words)}{', or a path' if key == SOURCE else ''}")
    return DONE


def shell_word(value: Any) -> str:
    """A field's value as a word of a shell's command line."""
    if not isinstance(value, str):
        return "off" if value is None else json.dumps(value)
    if value.isprintable():
        return shlex.quote(value)
    return "$'" + "".join(map(_escaped, value)) + "'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return "\\" + character
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode() if character.isascii() else f"\\U{ord(character):08x}"


def run_studies(options: argparse.Namespace) -> int:
    """Train every missing run of the studies, then report; run again, it does only what is missing."""
    from gpt.report.build import print_again, print_findings
    from gpt.runner.stages import Stages
    from gpt.study.folder import refuse_corrupt, run_at
    from gpt.wandb_sync.start import synced

    to = destination(options)
    corpora = open_corpora()
    opened = [open_study(path, options.seeds, corpora) for path in options.studies]
    names = [study.name for study, _, _ in opened]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two of the studies are named {name}; each needs a name of its own")
    unique = list({run.fingerprint: run for _, runs, _ in opened for run in runs}.values())
    unique.sort(key=lambda run: run.seed)
    here = set_up(options, unique, corpora)
    stages = Stages(opened, options.out)
    folders, stage = stages.folders, stages.now()
    if here.is_main:
        stages.start(stage)
    missing = sum(not run_at(options.out, run.fingerprint).finished for run in stage.due)
    with synced(to(names), here.is_main) as syncing:
        code = run_stages(stages, stage, here)
        syncing.short_timeout = code == STOPPED
        if code == STOPPED or not here.is_main:
            return code
        refuse_corrupt(folders)
        if missing == 0 and all(folder.findings.exists() for folder in folders):
            print_again(options.out, folders, options.json)
            return code
        try:
            print_findings(options.out, folders, options.json)
        except OSError as error:
            print(f"gpt: the report cannot be written: {error}; `gpt study report` writes it later", file=sys.stderr)
            code = RUNS_FAILED
    return code


def run_stages(stages: "Stages", stage: "Stage", here: Setup) -> int:
    """Train a stage of the studies and all that follow from it, and return the exit code."""
    code, due, given_up = DONE, stage.due, set[str]()
    while True:
        ended = run_planned(due, here)
        if ended == STOPPED or not here.is_main:
            return ended
        code = max(code, ended)
        if not stage.open:
            return code
        if ended == RUNS_FAILED:
            given_up |= stages.lost(due)
        left = stages.wait_for_others(stage, given_up)
        if left is None:
            return STOPPED
        if left:
            due = left
            continue
        following = stages.next(stage)
        if following is None:
            return code
        if here.launch:
            print("a launch trains one stage; run the same command again for the next", file=sys.stderr)
            return STOPPED
        due = [run for run in following.due if run.fingerprint not in given_up]
        stage = following


def run_planned(runs: "Sequence[PlannedRun]", here: Setup) -> int:
    """Train what is missing, say what could not be done, and return the exit code."""
    from gpt.runner.run import train_runs
    from gpt.study.plan import describe

    pick_steps(runs, here)
    outcome = train_runs(runs, here.workspace, here.launch, here.layout)
    if not here.is_main:
        return STOPPED if outcome.stopped else DONE
    if outcome.stopped:
        print("stopped on request; run the same command again to resume", file=sys.stderr)
        return STOPPED
    for run, why in outcome.unfinished[:NAMED]:
        print(f"not done: {describe(run)}, run {run.fingerprint}: {why}", file=sys.stderr)
    if (unnamed := len(outcome.unfinished) - NAMED) > 0:
        print(f"not done: {unnamed} more; `gpt study status {here.workspace.out}` counts them", file=sys.stderr)
    if outcome.elsewhere:
        print(f"left to the commands that are training them: {outcome.elsewhere} of {len(runs)} runs", file=sys.stderr)
    return RUNS_FAILED if outcome.unfinished else DONE


def pick_steps(runs: "Sequence[PlannedRun]", here: Setup) -> None:
    """Measure, once for all runs that leave open how their steps are computed; where ranks share a batch, and in a
    launch, there is no choice.
    """
    still_open = [run for run in runs if run.config.train.step == "auto"]
    if not still_open or not here.is_main:
        return
    import torch

    from gpt.bench.step_modes import time_modes
    from gpt.runner.picks import pick_step

    workspace, layout, measure = here.workspace, here.layout, None
    if here.launch is None and layout.ranks_per_run == 1:
        torch.set_num_threads(layout.threads)
        measure = partial(time_modes, workspace=workspace, seeds_together=layout.seeds_per_process)
    pick = pick_step(still_open, workspace.out, workspace.device, layout.seeds_per_process, measure)
    print(f"train.step auto: {pick.picked}", file=sys.stderr)


def destination(options: argparse.Namespace) -> "Callable[..., Destination]":
    """Where in W&B studies and standalone runs go, as the command line and the environment ask for."""
    from gpt.wandb_sync.targets import Destination, read_mode, read_project

    mode, project = read_mode(options.wandb, os.environ), read_project(os.environ)
    return partial(Destination, options.out, mode, project)
