"""Checkpoints under faults: kills and power cuts at every system call, damaged bytes, a full disk."""

import errno
import hashlib
import itertools
import os
import pickle
import random
import re
import resource
import shutil
import signal
from pathlib import Path

import pytest
import torch

from gpt.errors import InputError
from gpt.records.manifest import MANIFEST, DamagedError
from gpt.train.checkpoint import STATE, commit, find, latest, load, verified_steps

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

META = {"fingerprint": "0123456789abcdef", "best": 1.25, "list": [1, None, True], "name": "é"}


def tensors(step):
    return {"weight": torch.arange(12.0).reshape(3, 4) + step, "step": torch.tensor(step)}


def commit_plain(root, step):
    return commit(root, step, tensors(step), {**META, "step": step})


def assert_is(checkpoint, step):
    assert checkpoint.step == step
    assert checkpoint.meta == {**META, "step": step}
    assert set(checkpoint.tensors) == set(tensors(step))
    for name, tensor in tensors(step).items():
        assert torch.equal(checkpoint.tensors[name], tensor)


def names(root):
    return sorted(entry.name for entry in root.iterdir())


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cell" / "checkpoints"


def test_what_was_committed_comes_back_equal(root):
    odd = {
        "bfloat16": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "flags": torch.tensor([True, False]),
        "nothing": torch.zeros(0, 3),
        "scalar": torch.tensor(7),
        "slice": torch.arange(12.0).reshape(3, 4)[1],
        "transposed": torch.arange(6.0).reshape(2, 3).T,
        "wanted_gradient": torch.ones(2, requires_grad=True),
        "not_finite": torch.tensor([float("nan"), float("inf"), -0.0]),
    }
    assert commit(root, 500, odd, META) == root / "step-00000500"
    checkpoint = load(root, 500)
    assert set(checkpoint.tensors) == set(odd)
    for name, tensor in odd.items():
        loaded = checkpoint.tensors[name]
        assert loaded.dtype == tensor.dtype
        assert loaded.shape == tensor.shape
        assert loaded.reshape(-1).view(torch.uint8).tolist() == tensor.detach().reshape(-1).view(torch.uint8).tolist()
    assert checkpoint.meta == META


def test_loaded_tensors_lie_in_memory_as_new_ones_do(root):
    commit(root, 1, {f"{i}": torch.ones(i) for i in range(1, 40)}, {})
    assert {tensor.data_ptr() % 64 for tensor in load(root, 1).tensors.values()} == {0}


def test_the_two_newest_stay(root):
    for step in (100, 200, 300, 400):
        commit_plain(root, step)
    assert names(root) == ["step-00000300", "step-00000400"]
    assert_is(load(root, 300), 300)
    assert_is(latest(root)[0], 400)


def test_a_folder_without_checkpoints_has_none(root):
    assert latest(root) == (None, {})
    assert find(root) == ([], {})
    with pytest.raises(DamagedError, match=r"step-00000001/manifest\.json: cannot be read: No such file"):
        load(root, 1)


def test_a_step_that_is_already_there_is_left_alone(root):
    folder = commit_plain(root, 100)
    before = (folder / STATE).stat()
    assert commit(root, 100, {"other": torch.zeros(1)}, {}) == folder
    assert (folder / STATE).stat() == before
    assert_is(load(root, 100), 100)


@pytest.mark.parametrize("damage", ["cut", "no manifest", "a file"])
def test_a_damaged_step_is_replaced(root, damage):
    folder = commit_plain(root, 100)
    if damage == "cut":
        os.truncate(folder / STATE, 10)
    elif damage == "no manifest":
        (folder / MANIFEST).unlink()
    else:
        shutil.rmtree(folder)
        folder.write_text("")
    assert verified_steps(root) == []
    commit_plain(root, 100)
    assert_is(load(root, 100), 100)
    commit_plain(root, 200)
    assert names(root) == ["step-00000100", "step-00000200"]


def test_a_damaged_checkpoint_is_not_one_of_the_two_that_stay(root):
    commit_plain(root, 100)
    os.truncate(commit_plain(root, 200) / STATE, 10)
    commit_plain(root, 300)
    assert verified_steps(root) == [100, 300]
    commit_plain(root, 400)
    assert names(root) == ["step-00000300", "step-00000400"]


def test_starting_over_at_an_earlier_step_does_not_cost_that_step(root):
    for step in (500, 1000):
        commit_plain(root, step)
    commit_plain(root, 100)
    assert verified_steps(root) == [100, 500, 1000]


def test_steps_beyond_eight_digits_sort_by_number(root):
    for step in (99_999_999, 100_000_000, 1_000_000_000):
        commit_plain(root, step)
    assert verified_steps(root) == [100_000_000, 1_000_000_000]


def test_what_an_unfinished_commit_left_is_removed_by_the_next(root):
    commit_plain(root, 100)
    (root / ".tmp-1-200").mkdir()
    (root / ".tmp-1-200" / STATE).write_bytes(b"half")
    (root / ".tmp-file").write_bytes(b"")
    commit_plain(root, 200)
    assert names(root) == ["step-00000100", "step-00000200"]


def test_meta_that_json_would_change_is_refused_before_anything_is_written(root):
    for meta in ({"pair": (1, 2)}, {1: 2}):
        with pytest.raises(AssertionError, match="must come back equal"):
            commit(root, 1, tensors(1), meta)
    with pytest.raises((AssertionError, ValueError)):
        commit(root, 1, tensors(1), {"loss": float("nan")})
    assert names(root) == []


CALLS = ("open", "write", "fsync", "close", "mkdir", "rename", "replace", "unlink", "rmdir")


def run_in_child(work):
    """Fork; do `work(say)`, where `say(number)` reaches the parent at once. Returns (exit status, what was said)."""
    receive, send = os.pipe()
    tell = os.write
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        try:
            work(lambda number: tell(send, b"%d " % number))
            os._exit(0)
        finally:
            os._exit(1)
    os.close(send)
    with os.fdopen(receive) as pipe:
        said = [int(word) for word in pipe.read().split()]
    return os.waitpid(child, 0)[1], said


def die_at(fatal, how):
    """From here on, kill this process just before its `fatal`-th system call on files.

    `torn`: if that call is a write, half of its bytes are written first. `power cut`: every byte that was not synced is
    lost, though names are kept, which is the worst order a file system may choose.
    """
    calls = 0
    unsynced = {}
    cut, duplicate = os.ftruncate, os.dup

    def wrap(name, original):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == fatal:
                if name == "write" and how == "torn":
                    original(args[0], args[1][: len(args[1]) // 2])
                if how == "power cut":
                    for descriptor in unsynced.values():
                        cut(descriptor, 0)
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args, **kwargs)
            if name == "write":
                unsynced[os.fstat(args[0]).st_ino] = duplicate(args[0])
            if name == "fsync":
                unsynced.pop(os.fstat(args[0]).st_ino, None)
            return result

        setattr(os, name, call)

    for name in CALLS:
        wrap(name, getattr(os, name))


def four_commits(root, say):
    for step in (100, 200, 300, 400):
        commit_plain(root, step)
        say(step)


def replacement_of_a_damaged_one(root, say):
    commit_plain(root, 200)
    say(200)


@pytest.mark.parametrize("how", ["kill", "torn", "power cut"])
@pytest.mark.parametrize("work", [four_commits, replacement_of_a_damaged_one])
def test_a_death_at_any_call_damages_nothing_and_loses_no_committed_step(tmp_path, work, how):
    for fatal in itertools.count(1):
        root = tmp_path / str(fatal) / "checkpoints"
        committed = []
        if work is replacement_of_a_damaged_one:
            commit_plain(root, 100)
            os.truncate(commit_plain(root, 200) / STATE, 10)
            committed = [100]

        status, said = run_in_child(lambda say, root=root, fatal=fatal: (die_at(fatal, how), work(root, say)))
        assert status in (0, signal.SIGKILL)
        committed += said

        verified, damaged = find(root)
        if work is four_commits:
            assert damaged == {}
        assert set(committed[-1:]) <= set(verified)
        assert len(verified) >= min(2, len(committed))
        for step in verified:
            assert_is(load(root, step), step)

        commit_plain(root, 500)
        assert latest(root)[0].step == 500
        assert [name for name in names(root) if name.startswith(".")] == []
        assert set(verified[-1:]) | {500} == set(verified_steps(root))
        if status == 0:
            break
    assert fatal > 10
    assert committed[-1] == (400 if work is four_commits else 200)


def test_each_thing_is_on_disk_before_the_next_depends_on_it(root, monkeypatch):
    for step in (100, 200):
        commit_plain(root, step)
    log = []

    def spy(name):
        original = getattr(os, name)

        def call(*args, **kwargs):
            if name in ("write", "fsync"):
                log.append((name, Path(f"/proc/self/fd/{args[0]}").readlink().name))
            else:
                log.append((name, Path(args[-1] if name == "rename" else args[0]).name))
            return original(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    for name in ("write", "fsync", "mkdir", "rename"):
        spy(name)
    commit_plain(root, 300)
    hidden = f".tmp-{os.getpid()}-300"
    assert log == [
        ("mkdir", hidden),
        ("write", STATE),
        ("fsync", STATE),
        ("write", MANIFEST),
        ("fsync", MANIFEST),
        ("fsync", hidden),
        ("rename", "step-00000300"),
        ("fsync", "checkpoints"),
        ("rename", f".tmp-{os.getpid()}-100-pruned"),
    ]


def damages(whole, count):
    """Damaged versions of some bytes: flipped bits, truncations, and bytes added at either end."""
    dice = random.Random(0)
    for _ in range(count):
        bit = dice.randrange(len(whole) * 8)
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)
    yield from (whole[: dice.randrange(len(whole))] for _ in range(count))
    yield from (whole + b"\n", whole + b" ", b" " + whole, b"", whole + whole)


@pytest.mark.parametrize("file", [STATE, MANIFEST])
def test_damaged_bytes_are_found_and_the_run_falls_back(root, file):
    commit_plain(root, 100)
    folder = commit_plain(root, 200)
    whole = (folder / file).read_bytes()
    for damaged in damages(whole, 200):
        (folder / file).write_bytes(damaged)
        checkpoint, reasons = latest(root)
        assert_is(checkpoint, 100)
        assert list(reasons) == ["step-00000200"]
        assert str(folder / file) in reasons["step-00000200"]
    (folder / file).write_bytes(whole)
    assert latest(root)[1] == {}


def test_when_every_checkpoint_is_damaged_each_is_named(root):
    for step in (100, 200):
        os.truncate(commit_plain(root, step) / STATE, 10)
    checkpoint, reasons = latest(root)
    assert checkpoint is None
    assert find(root) == ([], reasons)
    assert sorted(reasons) == ["step-00000100", "step-00000200"]
    for reason in reasons.values():
        assert re.search(r"state\.safetensors: 10 bytes, must be \d+", reason)


def test_the_bytes_are_verified_before_they_are_parsed(root, monkeypatch):
    folder = commit_plain(root, 100)
    parsed = []
    monkeypatch.setattr("gpt.train.checkpoint.parse_tensors", parsed.append)
    (folder / STATE).write_bytes(b"\0" * (folder / STATE).stat().st_size)
    with pytest.raises(DamagedError, match="must have the SHA-256"):
        load(root, 100)
    assert parsed == []


def test_a_folder_under_another_steps_name_is_refused(root):
    commit_plain(root, 100).rename(root / "step-00000700")
    with pytest.raises(DamagedError, match="step 100, must be that of the folder's name"):
        load(root, 700)
    assert verified_steps(root) == []


def test_tensors_of_another_step_are_refused(root):
    first, second = commit_plain(root, 100), commit_plain(root, 200)
    shutil.copy(first / STATE, second / STATE)
    assert verified_steps(root) == [100]


def forge(folder, manifest_text):
    """A manifest whose own hash is right, as somebody who knows the format could write it."""
    head = manifest_text.encode()
    (folder / MANIFEST).write_bytes(head + b'"sha256": "%s"\n}\n' % hashlib.sha256(head).hexdigest().encode())


def test_another_format_is_refused(root):
    folder = commit_plain(root, 100)
    text = (folder / MANIFEST).read_text()
    forge(folder, text[: text.rindex('"sha256"')].replace('"format": 1', '"format": 2'))
    with pytest.raises(DamagedError, match="format 2, must be 1"):
        load(root, 100)


class Trap:
    def __reduce__(self):
        return os.abort, ()


def test_a_pickle_that_poses_as_a_checkpoint_is_never_loaded(root):
    commit_plain(root, 100)
    folder = commit_plain(root, 200)
    poison = pickle.dumps(Trap())
    text = (folder / MANIFEST).read_text()
    text = re.sub('"bytes": [0-9]+', f'"bytes": {len(poison)}', text[: text.rindex('"sha256"')])
    text = re.sub('"sha256": "[0-9a-f]+"', f'"sha256": "{hashlib.sha256(poison).hexdigest()}"', text)
    forge(folder, text)
    (folder / STATE).write_bytes(poison)
    with pytest.raises(DamagedError, match=r"state\.safetensors: Error while deserializing"):
        load(root, 200)
    checkpoint, reasons = latest(root)
    assert_is(checkpoint, 100)
    assert list(reasons) == ["step-00000200"]


def test_nothing_in_the_package_can_load_a_pickle():
    package = Path(__file__).parents[2] / "gpt"
    sources = list(package.rglob("*.py"))
    assert package / "train" / "checkpoint.py" in sources
    for source in sources:
        assert not re.search(r"torch\.load\b|\bpickle\b|allow_pickle|\bshelve\b", source.read_text()), source


def test_a_full_disk_is_one_clear_error_and_costs_no_earlier_checkpoint(root):
    commit_plain(root, 100)
    big = {"weight": torch.zeros(100_000)}

    def work(say):
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        with pytest.raises(OSError, match="File too large") as caught:
            commit(root, 200, big, {})
        assert caught.value.filename == str(root / "step-00000200")
        say(caught.value.errno)

    assert run_in_child(work) == (0, [errno.EFBIG])
    assert names(root) == ["step-00000100"]
    assert_is(latest(root)[0], 100)
    commit(root, 200, big, {})
    assert verified_steps(root) == [100, 200]


def test_a_place_where_no_folder_can_be_is_the_users_to_mend(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(InputError, match=r"checkpoints.*cannot be written"):
        commit_plain(tmp_path / "checkpoints", 100)
