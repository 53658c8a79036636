"""Kills and power cuts at every operation on files and at any moment: nothing committed is lost, no byte is another."""

import os
import random
import shutil
import time
from pathlib import Path

import checkpoints
import pytest
from children import Say, in_child
from dying import HOWS, Operations
from small import Small, check_nothing_lost, say_commits
from tally import Tally

from gpt.train import checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

SHARES = 4
"""tests that each class of many kills is divided into, so that they can run side by side"""


def four_commits(root: Path, say: Say) -> None:
    for step in (100, 200, 300, 400):
        checkpoints.commit(root, step)
        say(step)


def replacement_of_a_corrupt_one(root: Path, say: Say) -> None:
    checkpoints.commit(root, 200)
    say(200)


@pytest.mark.fault("death at every operation of a checkpoint's commit", sampled=True)
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("work", [four_commits, replacement_of_a_corrupt_one])
def test_a_death_at_any_operation_damages_nothing_and_loses_no_committed_step(
    faults: Tally, tmp_path: Path, work, how: str
) -> None:
    def prepare(root: Path) -> list[int]:
        if work is four_commits:
            return []
        checkpoints.commit(root, 100)
        os.truncate(checkpoints.commit(root, 200) / checkpoint.STATE, 10)
        return [100]

    def count(say: Say) -> None:
        operations = Operations()
        work(tmp_path / "counted", lambda _: None)
        say(operations.count)

    prepare(tmp_path / "counted")
    last = int(in_child(count).said[0])
    for fatal in faults.some(range(1, last + 1), 8):
        root = tmp_path / str(fatal)
        before = prepare(root)
        with faults.one():
            ended = in_child(lambda say, root=root, fatal=fatal: (Operations(fatal, how), work(root, say)))
            assert ended.killed
            before += map(int, ended.said)
            found = checkpoints.steps(root)
            assert len(found) >= min(checkpoint.KEPT, len(before))
            assert set(before[-1:]) <= set(found)
            if work is four_commits:
                assert checkpoint.find(root)[1] == {}
            checkpoints.commit(root, 500)
            assert set(found[-1:]) | {500} == set(checkpoints.steps(root))
            assert [entry.name for entry in root.iterdir() if entry.name.startswith(".")] == []


@pytest.fixture(scope="module")
def operations(one: Small, tmp_path_factory: pytest.TempPathFactory) -> int:
    """Operations on files while the small run is trained."""

    def count(say: Say) -> None:
        counting = Operations()
        one.train(tmp_path_factory.mktemp("counted") / "out")
        say(counting.count)

    return int(in_child(count).said[0])


def die_training(small: Small, out: Path, fatal: int, how: str) -> list[int]:
    """Train until a chosen operation; the steps that were committed before."""

    def work(say: Say) -> None:
        say_commits(say)
        Operations(fatal, how)
        small.train(out)

    ended = in_child(work)
    assert ended.killed or ended.status == 0
    return [int(step) for step in ended.said]


@pytest.mark.fault("death at every operation on files of a whole training", sampled=True)
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("how", HOWS)
def test_a_training_killed_at_any_operation_ends_with_the_same_bytes(
    faults: Tally, one: Small, operations: int, tmp_path: Path, how: str, share: int
) -> None:
    assert operations > 200
    for fatal in faults.some(range(1 + share, operations + 1, SHARES), 1):
        with faults.one():
            told = die_training(one, tmp_path / "out", fatal, how)
            check_nothing_lost(faults, one, tmp_path / "out", told)
        shutil.rmtree(tmp_path / "out")


@pytest.mark.fault("death while recovering from a death", sampled=True)
def test_a_training_killed_again_and_again_ends_with_the_same_bytes(
    faults: Tally, one: Small, operations: int, tmp_path: Path
) -> None:
    dice = random.Random(0)
    for _ in faults.some(range(30), 1):
        told: list[int] = []
        for _ in range(3):
            with faults.one():
                told += die_training(one, tmp_path / "out", dice.randrange(1, operations // 2), dice.choice(HOWS))
        check_nothing_lost(faults, one, tmp_path / "out", sorted(told))
        shutil.rmtree(tmp_path / "out")


@pytest.mark.fault("kill -9 at a random moment", sampled=True)
def test_a_training_killed_at_any_moment_ends_with_the_same_bytes(faults: Tally, one: Small, tmp_path: Path) -> None:
    dice = random.Random(0)
    began = time.monotonic()
    assert in_child(lambda _: one.train(tmp_path / "timed")).status == 0
    seconds = time.monotonic() - began
    for number in faults.some(range(60), 3):
        out = tmp_path / str(number)
        with faults.one():
            ended = in_child(lambda say, out=out: (say_commits(say), one.train(out)), dice.uniform(0, seconds))
            assert ended.killed or ended.status == 0
            check_nothing_lost(faults, one, out, list(map(int, ended.said)))
