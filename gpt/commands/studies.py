"""Commands that look at studies: check before, status during, report and publish after."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gpt.commands.output import show
from gpt.commands.workspace import open_corpora
from gpt.errors import InputError
from gpt.runner.launch.exit_codes import DONE

if TYPE_CHECKING:
    from gpt.analysis.status import StudyStatus
    from gpt.runner.corpora import Corpora
    from gpt.study.folder import StudyFolder
    from gpt.study.plan import PlannedRun
    from gpt.study.spec import Study


def check_study(options: argparse.Namespace) -> int:
    """Refuse confounded studies; say what differs, how many runs, what they cost and what they can detect."""
    from gpt.runner.checks.preflight import preflight

    corpora = open_corpora()
    opened = [open_study(path, options.seeds, corpora) for path in options.studies]
    show([preflight(study, runs, corpora) for study, runs, _ in opened], options.json)
    return DONE


def open_study(path: Path, seeds: int | None, corpora: "Corpora") -> "tuple[Study, list[PlannedRun], str]":
    """A checked study, its runs, and the hash of its data.

    Where the study tunes, the runs are the trials on the grid as it was written, and as many of the comparison as there
    will be, with the base's values of what is tuned.
    """
    from gpt.runner.checks.variants import check_variants
    from gpt.study.plan import describe
    from gpt.study.study_file import load_study

    study = load_study(path, seeds)
    runs = _runs(study, "")
    for run in runs:
        try:
            check_variants(run.config)
        except InputError as error:
            raise InputError(f"{path}: {describe(run)}: {error}") from None
    configs = {
        (c.config.data.source, c.config.data.val_fraction, c.config.model.context, c.config.sample.prompt): c.config
        for c in runs
    }
    hashes = {corpora.load(config).sha256 for config in configs.values()}
    if len(hashes) > 1:
        raise InputError(f"{path}: variants train on different texts; their losses cannot be compared")
    data_sha256 = hashes.pop()
    return study, _runs(study, data_sha256), data_sha256


def _runs(study: "Study", data_sha256: str) -> "list[PlannedRun]":
    from gpt.study.plan import plan
    from gpt.study.tuning import plan_so_far

    first = plan_so_far(study, data_sha256, lambda _: None)
    return [*first.all_runs, *(() if first.runs else plan(study, data_sha256))]


def show_status(options: argparse.Namespace) -> int:
    """Say how far each study of a folder is."""
    show([status_of(folder) for folder in started(options.out)], options.json)
    return DONE


def status_of(folder: "StudyFolder") -> "StudyStatus":
    """Of the runs that are needed, which are all but where a look has ended a study or is to be made first."""
    from gpt.analysis.collect import collect
    from gpt.analysis.status import study_status
    from gpt.analysis.verdicts import needed

    return study_status(needed(collect(folder)))


def show_power(options: argparse.Namespace) -> int:
    """From finished pilots, say how many pairs a further study needs."""
    from gpt.analysis.collect import collect
    from gpt.analysis.pilot import study_power
    from gpt.analysis.verdicts import needed
    from gpt.records.formatting import listed
    from gpt.study.folder import refuse_corrupt

    folders = started(options.out)
    named = [folder for folder in folders if options.study in (None, folder.name)]
    if not named:
        raise InputError(f"--study: got {options.study}, must be one of {listed([folder.name for folder in folders])}")
    refuse_corrupt(named)
    show([study_power(needed(collect(folder))) for folder in named], options.json)
    return DONE


def report_studies(options: argparse.Namespace) -> int:
    """Write the reports of a folder's studies again and print their findings."""
    from gpt.report.build import print_findings
    from gpt.study.folder import refuse_corrupt

    folders = started(options.out)
    refuse_corrupt(folders)
    print_findings(options.out, folders, options.json)
    return DONE


def publish_studies(options: argparse.Namespace) -> int:
    """Copy the reports of a folder's finished studies to results/ and renew the findings on its page."""
    from gpt.report.publish import check_place, marked, publish, update
    from gpt.study.folder import refuse_corrupt

    page = options.readme or options.results / "README.md"
    marked(page)
    folders = started(options.out)
    refuse_corrupt(folders)
    for folder in folders:
        status = status_of(folder)
        if not status.complete:
            raise InputError(f"{status.summary}; only finished studies are published")
        check_place(folder, options.results)
    for folder in folders:
        publish(folder, options.results)
        print(options.results / folder.name)
    update(page, options.results)
    return DONE


def started(out: Path) -> "list[StudyFolder]":
    from gpt.records.formatting import listed
    from gpt.study.folder import studies_in

    folders = studies_in(out)
    if not folders:
        inside = [str(path) for path in sorted(out.glob("*")) if studies_in(path)]
        hint = f"look in {listed(inside)}" if inside else f"`gpt study run STUDY.yaml --out {out}` starts one"
        raise InputError(f"{out}: holds no study; {hint}")
    return folders
