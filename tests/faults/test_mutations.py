"""Would these tests notice? Every safeguard is taken out, one at a time, and its tests must fail."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from chaos import SAFEGUARDS
from tally import Tally

COMMITS = "tests/faults/test_kills.py::test_a_death_at_any_operation_damages_nothing_and_loses_no_committed_step"
TRAINING = "tests/faults/test_kills.py::test_a_training_killed_at_any_operation_ends_with_the_same_bytes"
CHECKPOINTS = "tests/faults/test_damage.py::test_a_corrupt_checkpoint_is_named_and_the_one_before_is_used"
RESUMED = "tests/faults/test_damage.py::test_a_run_that_goes_on_ends_with_the_same_bytes_or_names_what_is_corrupt"
TORN = "tests/faults/test_damage.py::test_whatever_follows_the_last_checkpoint_is_cut_off"
RACES = "tests/faults/test_races.py::test_workers_that_race_train_every_run_once"
STACK = "tests/faults/test_edits.py::test_a_run_begun_by_another_stack_is_refused_by_name"


@dataclass(frozen=True)
class Mutation:
    """One safeguard taken out of the source."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """that must notice"""


MUTATIONS = {
    "files are not synced": Mutation(
        "records/files.py", "data)\n        os.fsync(descriptor)", "data)", (f"{COMMITS}[all-four_commits-power cut]",)
    ),
    "folders are not synced": Mutation(
        "records/files.py",
        "os.O_RDONLY | os.O_DIRECTORY)\n    try:\n        os.fsync(descriptor)",
        "os.O_RDONLY | os.O_DIRECTORY)\n    try:\n        pass",
        ("tests/train/test_checkpoint.py", "tests/records/test_files.py"),
    ),
    "rows are not synced before a checkpoint": Mutation(
        "records/jsonl.py",
        "            os.fsync(self._descriptor)\n\n    def close",
        "            pass\n\n    def close",
        (f"{TRAINING}[all-power cut-0]",),
    ),
    "the manifest's own hash is not looked at": Mutation(
        "records/manifest.py",
        'if raw != _with_hash(raw[: -len(_with_hash(b""))]):',
        "if False:",
        (f"{CHECKPOINTS}[sample-manifest.json]",),
    ),
    "the files' hashes are not looked at": Mutation(
        "records/manifest.py", "if entry(data) != expected:", "if False:", (f"{CHECKPOINTS}[sample-state.safetensors]",)
    ),
    "the rows' hash is not looked at": Mutation(
        "runner/resume.py", 'if entry(read_bytes(path)[: mark["bytes"]]) != mark:', "if False:", (f"{RESUMED}[sample]",)
    ),
    "a corrupt checkpoint is not fallen back from": Mutation(
        "train/checkpoint.py",
        "        except CorruptionError as error:\n            corrupt[_name(step)] = str(error)",
        "        except CorruptionError:\n            raise",
        (f"{CHECKPOINTS}[sample-state.safetensors]",),
    ),
    "runs are not leased": Mutation(
        "records/run_folder.py", "fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass", (f"{RACES}[sample]",)
    ),
    "a checkpoint is written in place": Mutation(
        "train/checkpoint.py",
        '    hidden = root / f"{_HIDDEN}{os.getpid()}-{step}"',
        "    hidden = folder",
        (f"{COMMITS}[all-four_commits-kill]",),
    ),
    "files are written in place": Mutation(
        "records/files.py",
        "            write_new(temporary, data)\n            temporary.replace(path)\n",
        "            path.write_bytes(data)\n",
        ("tests/records/test_files.py",),
    ),
    "older checkpoints go before the new one is there": Mutation(
        "train/checkpoint.py",
        "        _write(root, step, tensors, meta)\n    _prune(root, step)",
        "        for older in _steps(root):\n            shutil.rmtree(root / _name(older))\n"
        "        _write(root, step, tensors, meta)\n    _prune(root, step)",
        (f"{COMMITS}[all-four_commits-kill]",),
    ),
    "rows after the checkpoint are kept": Mutation(
        "records/jsonl.py",
        "                os.ftruncate(self._descriptor, self._size)\n                os.fsync",
        "                os.fsync",
        (f"{TORN}[sample-metrics]",),
    ),
    "what a killed writer left is not removed": Mutation(
        "records/run_folder.py",
        "            remove_leftovers(folder)",
        "            pass",
        ("tests/records/test_run_folder.py",),
    ),
    "the stack is not compared": Mutation(
        "runner/run_json.py", "if made_by.get(key) != (now := here.get(key)):", "if False:", (f"{STACK}[sample]",)
    ),
}


def mutated(repository: Path, folder: Path, mutation: Mutation) -> None:
    for name in ("gpt", "tests", "launch"):
        shutil.copytree(repository / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repository / "pyproject.toml", folder)
    path = folder / "gpt" / mutation.file
    source = path.read_text()
    assert source.count(mutation.old) == 1, "the source has changed; so must the mutation"
    path.write_text(source.replace(mutation.old, mutation.new))


def outcome_of(folder: Path, mutation: Mutation) -> subprocess.CompletedProcess[str]:
    quiet = ["-q", "-x", "-m", "", "-p", "no:cacheprovider", "-p", "no:xdist"]
    words = [sys.executable, "-m", "pytest", *quiet, *mutation.tests]
    mine = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(words, cwd=folder, env=mine, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.fault(SAFEGUARDS)
@pytest.mark.parametrize("what", MUTATIONS)
def test_the_tests_notice_that_a_safeguard_is_gone(faults: Tally, repository: Path, tmp_path: Path, what: str) -> None:
    with faults.one():
        mutated(repository, tmp_path, MUTATIONS[what])
        ended = outcome_of(tmp_path, MUTATIONS[what])
        assert ended.returncode == 1, ended.stdout[-3000:]
        assert re.search(r"^FAILED ", ended.stdout, re.MULTILINE), ended.stdout[-3000:]


@pytest.mark.slow
def test_with_every_safeguard_the_same_tests_pass(repository: Path, tmp_path: Path) -> None:
    tests = tuple(sorted({test for mutation in MUTATIONS.values() for test in mutation.tests}))
    nothing = Mutation("errors.py", "class InputError", "class InputError", tests)
    mutated(repository, tmp_path, nothing)
    ended = outcome_of(tmp_path, nothing)
    assert ended.returncode == 0, ended.stdout[-3000:]


def test_every_mutation_still_finds_its_place(repository: Path) -> None:
    for what, mutation in MUTATIONS.items():
        assert (repository / "gpt" / mutation.file).read_text().count(mutation.old) == 1, what
        assert all((repository / test.partition("::")[0]).exists() for test in mutation.tests), what
