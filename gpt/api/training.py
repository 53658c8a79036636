"""Training runs and studies from a Python program, and what studies found."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt.analysis.findings import Findings
from gpt.api.run import Run
from gpt.commands.surroundings import import_path
from gpt.config import SOURCES, RunConfig, with_values
from gpt.errors import InputError
from gpt.fields import flatten
from gpt.fingerprint import fingerprint
from gpt.run_file import read_run_file
from gpt.runner.launch.exit_codes import BAD_INPUT
from gpt.study.folder import StudyFolder, run_at

Files = str | Path
"""a file or folder"""


def load_findings(study: Files) -> Findings:
    """What a study found: from its folder, `OUT/studies/NAME`, its report's, or a published one's.

    Raises:
        InputError: there are no findings, or of another version.
    """
    folder = Path(study)
    places = [folder / "report" / "findings.json", folder / "findings.json", folder]
    return Findings.read(next((place for place in places if place.is_file()), places[0]))


def verdicts(findings: Findings) -> list[str]:
    """The answers to the study's question in sentences: one for each contrast, or for each spread taken apart."""
    from gpt.report.text.seed_variance import decomposed, spread_sentences
    from gpt.report.text.sentences import sentence

    study = findings.study
    of_contrasts = [sentence(contrast, study.metric) for contrast in findings.contrasts]
    return [*of_contrasts, *(" ".join(spread_sentences(study, *spread)) for spread in decomposed(findings))]


def run_study(file: Files, *, seeds: int | None = None, out: Files = "out", options: Sequence[str] = ()) -> Findings:
    """Train every missing run of a study, write its report, and return its findings; progress goes to stderr.

    This is `gpt study run`, in processes of its own: stopped at any time, the same call resumes.

    Args:
        seeds: number of seeds in place of the file's.
        out: folder of runs and studies.
        options: further ones of `gpt study run`, for instance `["--processes", "2"]`.

    Raises:
        InputError: the study or an option is not valid.
        RuntimeError: some runs failed, or a signal stopped the training.
    """
    from gpt.commands.studies import open_study
    from gpt.commands.workspace import open_corpora

    study, _, _ = open_study(Path(file), seeds, open_corpora())
    number = [] if seeds is None else ["--seeds", str(seeds)]
    _gpt("study", "run", str(file), "--out", str(out), *number, *options)
    return Findings.read(StudyFolder(Path(out), study.name).findings)


def train_run(
    run: Files | RunConfig, values: Mapping[str, Any] | None = None, *, out: Files = "out", options: Sequence[str] = ()
) -> Run:
    """Train a run unless it is trained already, and return it; progress goes to stderr.

    This is `gpt train`, in processes of its own: stopped at any time, the same call resumes.

    Args:
        run: a run file, or a configuration.
        values: fields to change, by dotted names: `{"optim.lr": 3e-4}`.
        out: folder of runs and studies.
        options: further ones of `gpt train`, for instance `["--device", "cuda"]`.

    Raises:
        InputError: the configuration, its text or an option is not valid.
        RuntimeError: the run failed, or a signal stopped the training.
    """
    from gpt.commands.workspace import open_corpora

    config = run if isinstance(run, RunConfig) else read_run_file(Path(run))
    config = with_values(config, values or {}, "train_run")
    data = open_corpora().load(config)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.yaml"
        plugins = [str(Path(folder) / Path(name).name) for name in config.plugins]
        for path, plugin in zip(plugins, config.plugins.values(), strict=True):
            Path(path).write_bytes(plugin.text.encode())
        file.write_text(json.dumps({**config.model_dump(mode="json"), "plugins": plugins}), encoding="utf-8")
        values = flatten(config)
        given = [f"--{key}={values[key]}" for key in SOURCES if values[key] is not None]
        _gpt("train", str(file), *given, "--out", str(out), *options)
    return Run(run_at(Path(out), fingerprint(config, data.sha256)).root)


def _gpt(*words: str) -> None:
    """Run a gpt command in a process of its own, as its workers import the script that they come from.

    What it says on stderr is passed on line by line, so that a notebook shows it too.
    """
    last_line = ""
    with subprocess.Popen(
        [sys.executable, "-m", "gpt", *words],
        env={**os.environ, **import_path()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                sys.stderr.write(line)
                last_line = line.strip() or last_line
        except BaseException:
            process.terminate()  # it stops after the step that it is at, with a checkpoint
            process.communicate()
            raise
    if process.returncode == BAD_INPUT:
        raise InputError(last_line.removeprefix("gpt: "))
    if process.returncode:
        raise RuntimeError(f"gpt {' '.join(words)}: ended with exit code {process.returncode}: {last_line}")
