"""Would these tests notice? Every safeguard is taken out, one at a time, and its tests must fail."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from chaos import SAFEGUARDS
from tally import Tally

KILLS = "tests/faults/test_kills.py"
DAMAGE = "tests/faults/test_damage.py"
RACES = "tests/faults/test_races.py"


@dataclass(frozen=True)
class Mutation:
    """One safeguard taken out of the source."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """that must notice"""


MUTATIONS = {
    "files are not synced": Mutation("records/files.py", "data)\n        os.fsync(descriptor)", "data)", (KILLS,)),
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
        (KILLS,),
    ),
    "the manifest's own hash is not looked at": Mutation(
        "records/manifest.py", 'if raw != _with_hash(raw[: -len(_with_hash(b""))]):', "if False:", (DAMAGE,)
    ),
    "the files' hashes are not looked at": Mutation(
        "records/manifest.py", "if entry(data) != expected:", "if False:", (DAMAGE,)
    ),
    "the rows' hash is not looked at": Mutation(
        "runner/resume.py", 'if entry(read_bytes(path)[: mark["bytes"]]) != mark:', "if False:", (DAMAGE,)
    ),
    "a corrupt checkpoint is not fallen back from": Mutation(
        "train/checkpoint.py",
        "        except CorruptionError as error:\n            corrupt[_name(step)] = str(error)",
        "        except CorruptionError:\n            raise",
        (DAMAGE,),
    ),
    "runs are not leased": Mutation(
        "records/run_folder.py", "fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass", (RACES,)
    ),
    "a checkpoint is written in place": Mutation(
        "train/checkpoint.py", '    hidden = root / f"{_HIDDEN}{os.getpid()}-{step}"', "    hidden = folder", (KILLS,)
    ),
    "files are written in place": Mutation(
        "records/files.py",
        "            write_new(temporary, data)\n            temporary.replace(path)\n",
        "            path.write_bytes(data)\n",
        (KILLS, "tests/records/test_files.py"),
    ),
    "older checkpoints go before the new one is there": Mutation(
        "train/checkpoint.py",
        "        _write(root, step, tensors, meta)\n    _prune(root, step)",
        "        for older in _steps(root):\n            shutil.rmtree(root / _name(older))\n"
        "        _write(root, step, tensors, meta)\n    _prune(root, step)",
        (KILLS,),
    ),
    "rows after the checkpoint are kept": Mutation(
        "records/jsonl.py",
        "                os.ftruncate(self._descriptor, self._size)\n                os.fsync",
        "                os.fsync",
        (DAMAGE,),
    ),
    "what a killed writer left is not removed": Mutation(
        "records/run_folder.py",
        "            remove_leftovers(folder)",
        "            pass",
        ("tests/records/test_run_folder.py",),
    ),
    "the stack is not compared": Mutation(
        "runner/run_json.py", "if made_by.get(key) != now:", "if False:", ("tests/faults/test_edits.py",)
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
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *mutation.tests]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


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
    files = tuple(sorted({file for mutation in MUTATIONS.values() for file in mutation.tests}))
    nothing = Mutation("errors.py", "class InputError", "class InputError", files)
    mutated(repository, tmp_path, nothing)
    ended = outcome_of(tmp_path, nothing)
    assert ended.returncode == 0, ended.stdout[-3000:]


def test_every_mutation_still_finds_its_place(repository: Path) -> None:
    for what, mutation in MUTATIONS.items():
        assert (repository / "gpt" / mutation.file).read_text().count(mutation.old) == 1, what
        assert all((repository / file).exists() for file in mutation.tests), what
