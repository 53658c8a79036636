"""Checkpoints under faults: kills and power cuts at every system call, corrupt bytes, a full disk."""

import hashlib
import os
import re
import shutil
from pathlib import Path

import pytest
import torch

from gpt.errors import InputError
from gpt.records.manifest import MANIFEST, CorruptionError
from gpt.train.checkpoint import STATE, commit, find, load

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


def steps(root):
    """The steps whose checkpoints verify, ascending."""
    return list(find(root)[0])


def latest(root):
    """The newest checkpoint that verifies, if any, and the reason for each folder that does not."""
    verified, corrupt = find(root)
    return (load(root, max(verified)) if verified else None), corrupt


def names(root):
    return sorted(entry.name for entry in root.iterdir())


@pytest.fixture
def root(tmp_path):
    return tmp_path / "run" / "checkpoints"


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
    assert find(root) == ({}, {})
    with pytest.raises(CorruptionError, match=r"step-00000001/manifest\.json: cannot be read: No such file"):
        load(root, 1)


def test_a_step_that_is_already_there_is_left_alone(root):
    folder = commit_plain(root, 100)
    before = (folder / STATE).stat()
    assert commit_plain(root, 100) == folder
    assert (folder / STATE).stat() == before
    assert_is(load(root, 100), 100)


def test_a_step_with_other_records_is_replaced(root):
    commit(root, 100, {"other": torch.zeros(1)}, {"records": "others"})
    commit_plain(root, 100)
    assert_is(load(root, 100), 100)
    assert names(root) == ["step-00000100"]


@pytest.mark.parametrize("damage", ["cut", "no manifest", "a file"])
def test_a_corrupt_step_is_replaced(root, damage):
    folder = commit_plain(root, 100)
    if damage == "cut":
        os.truncate(folder / STATE, 10)
    elif damage == "no manifest":
        (folder / MANIFEST).unlink()
    else:
        shutil.rmtree(folder)
        folder.write_text("")
    assert steps(root) == []
    commit_plain(root, 100)
    assert_is(load(root, 100), 100)
    commit_plain(root, 200)
    assert names(root) == ["step-00000100", "step-00000200"]


def test_a_corrupt_checkpoint_is_not_one_of_the_two_that_stay(root):
    commit_plain(root, 100)
    os.truncate(commit_plain(root, 200) / STATE, 10)
    commit_plain(root, 300)
    assert steps(root) == [100, 300]
    commit_plain(root, 400)
    assert names(root) == ["step-00000300", "step-00000400"]


def test_starting_over_at_an_earlier_step_does_not_cost_that_step(root):
    for step in (500, 1000):
        commit_plain(root, step)
    commit_plain(root, 100)
    assert steps(root) == [100, 500, 1000]


def test_steps_beyond_eight_digits_sort_by_number(root):
    for step in (99_999_999, 100_000_000, 1_000_000_000):
        commit_plain(root, step)
    assert steps(root) == [100_000_000, 1_000_000_000]


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


def test_when_every_checkpoint_is_corrupt_each_is_named(root):
    for step in (100, 200):
        os.truncate(commit_plain(root, step) / STATE, 10)
    checkpoint, reasons = latest(root)
    assert checkpoint is None
    assert find(root) == ({}, reasons)
    assert sorted(reasons) == ["step-00000100", "step-00000200"]
    for reason in reasons.values():
        assert re.search(r"state\.safetensors: 10 bytes, must be \d+", reason)


def test_the_bytes_are_verified_before_they_are_parsed(root, monkeypatch):
    folder = commit_plain(root, 100)
    parsed = []
    monkeypatch.setattr("gpt.train.checkpoint.parse_tensors", parsed.append)
    (folder / STATE).write_bytes(b"\0" * (folder / STATE).stat().st_size)
    with pytest.raises(CorruptionError, match="must have the SHA-256"):
        load(root, 100)
    assert parsed == []


def test_a_folder_under_another_steps_name_is_refused(root):
    commit_plain(root, 100).rename(root / "step-00000700")
    with pytest.raises(CorruptionError, match="step 100, must be that of the folder's name"):
        load(root, 700)
    assert steps(root) == []


def test_tensors_of_another_step_are_refused(root):
    first, second = commit_plain(root, 100), commit_plain(root, 200)
    shutil.copy(first / STATE, second / STATE)
    assert steps(root) == [100]


def forge(folder, manifest_text):
    """A manifest whose own hash is right, as somebody who knows the format could write it."""
    head = manifest_text.encode()
    (folder / MANIFEST).write_bytes(head + b'"sha256": "%s"\n}\n' % hashlib.sha256(head).hexdigest().encode())


def test_another_format_is_refused(root):
    folder = commit_plain(root, 100)
    text = (folder / MANIFEST).read_text()
    forge(folder, text[: text.rindex('"sha256"')].replace('"format": 1', '"format": 2'))
    with pytest.raises(CorruptionError, match="format 2, must be 1"):
        load(root, 100)


def test_nothing_in_the_package_can_load_a_pickle():
    package = Path(__file__).parents[2] / "gpt"
    sources = list(package.rglob("*.py"))
    assert package / "train" / "checkpoint.py" in sources
    for source in sources:
        assert not re.search(r"torch\.load\b|\bpickle\b|allow_pickle|\bshelve\b", source.read_text()), source


def test_a_place_where_no_folder_can_be_is_the_users_to_mend(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(InputError, match=r"checkpoints.*cannot be written"):
        commit_plain(tmp_path / "checkpoints", 100)
