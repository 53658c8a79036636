"""Disks that are full or may not be written to: one clear reason, nothing committed is lost, more room mends it."""

import errno
import resource
import shutil
from pathlib import Path

import checkpoints
import pytest
import torch
from children import Say, in_child
from commands import GPT, gpt, run_command
from small import Small, check_nothing_lost, committed, say_commits
from small_disk import remount, small_disk
from tally import Tally

from gpt.records.files import make_folder
from gpt.train import checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.mark.fault("disk full", sampled=True)
def test_a_full_disk_costs_nothing_that_was_committed(faults: Tally, one: Small, tmp_path: Path) -> None:
    sizes = range(8, 8 + 4 * 40, 4)
    too_small = 0
    for kilobytes in faults.some(sizes, 4):
        disk = tmp_path / str(kilobytes)
        disk.mkdir()
        with small_disk(disk, kilobytes), faults.one():

            def work(say: Say, out: Path = disk / "out") -> None:
                say_commits(say)
                one.train(out)

            told = in_child(work).said
            run = one.run(disk / "out")
            too_small += not run.finished
            if run.read_status().state == "failed":  # else not even that could be written
                assert "No space left on device" in run.read_status().why
            remount(disk, "size=8m")
            check_nothing_lost(faults, one, disk / "out", list(map(int, told)))
    assert too_small


@pytest.mark.fault("file-size limit", sampled=True)
def test_a_file_that_may_not_grow_fails_the_run_by_name(faults: Tally, one: Small, tmp_path: Path) -> None:
    for limit in faults.some(range(200, 12_200, 400), 3):
        out = tmp_path / str(limit)

        def work(say: Say, out: Path = out, limit: int = limit) -> None:
            say_commits(say)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            one.train(out)

        with faults.one():
            told = in_child(work).said
            run = one.run(out)
            if run.read_status().state == "failed":
                assert "File too large" in run.read_status().why
            check_nothing_lost(faults, one, out, list(map(int, told)))
        shutil.rmtree(out)


@pytest.mark.fault("disk full in a checkpoint's commit", sampled=True)
def test_a_commit_that_does_not_fit_leaves_the_earlier_ones(faults: Tally, tmp_path: Path) -> None:
    big = {"weight": torch.zeros(100_000)}
    for limit in faults.some(range(1, 400_000, 20_000), 4):
        root = tmp_path / str(limit)
        checkpoints.commit(root, 100)

        def work(say: Say, root: Path = root, limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            with pytest.raises(OSError, match="File too large") as caught:
                checkpoint.commit(root, 200, big, {})
            assert caught.value.filename == str(root / "step-00000200")
            say(caught.value.errno)

        with faults.one():
            assert in_child(work).said == [str(errno.EFBIG)]
            assert [entry.name for entry in root.iterdir()] == ["step-00000100"]
            assert checkpoints.steps(root) == [100]
            checkpoint.commit(root, 200, big, {})
            assert list(checkpoint.find(root)[0]) == [100, 200]


@pytest.mark.fault("read-only folder")
def test_a_folder_that_may_not_be_written_to_is_bad_input(
    faults: Tally, one: Small, excerpt: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    run_file = tmp_path / "run.yaml"
    make_folder(tmp_path)
    run_file.write_text(f"""\
data: {{source: {excerpt}, val_fraction: 0.1}}
model: {{layers: 1, heads: 2, width: 8, context: 8, position: rope, norm_placement: pre}}
optim: {{lr: 1e-2, warmup_steps: 2}}
train: {{steps: 8, batch_size: 4, eval_every: 4}}
""")
    with small_disk(disk, 8000):
        for out in (disk, disk / "out"):
            remount(disk, "ro")
            with faults.one():
                code, said = gpt("train", run_file, "--out", out, home=tmp_path)
                assert code == 2
                assert len(said.splitlines()) == 1, said
                assert str(out) in said
            remount(disk, "rw")
        # in the middle: the run was begun, and its folder turns read-only
        one.train(disk / "out", stop=iter([False] * 8 + [True] * 9).__next__)
        before = committed(one.run(disk / "out"))
        assert before
        remount(disk, "ro")
        with faults.one():
            one.train(disk / "out")
            assert committed(one.run(disk / "out")) == before
        remount(disk, "rw")
        one.train(disk / "out")
        one.check(disk / "out")


@pytest.mark.slow
def test_a_study_on_a_full_disk_fails_in_plain_words_and_goes_on_with_more_room(
    tiny_study: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [*GPT, "study", "run", tiny_study, "--out", disk / "out", "--device", "cpu"]
    with small_disk(disk, 160):
        code, said = run_command(command, tmp_path)
        assert (code, "No space left on device" in said, "Traceback" in said) == (3, True, False), said
        remount(disk, "size=64m")
        code, said = run_command(command, tmp_path)
        assert code == 0, said
