import dataclasses
import itertools
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt.errors import InputError
from gpt.records.files import jsonable, read_json, remove_leftovers, write_atomic, write_json

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def test_a_write_killed_at_any_call_leaves_the_old_bytes_or_the_new(tmp_path, kill_at_call):
    file = tmp_path / "file"
    seen = set()
    for fatal in itertools.count(1):
        write_atomic(file, b"old" * 1000)
        lived = kill_at_call(fatal, lambda: write_atomic(file, b"new" * 2000))
        assert file.read_bytes() in (b"old" * 1000, b"new" * 2000)
        seen.add(file.read_bytes())
        remove_leftovers(tmp_path)
        assert list(tmp_path.iterdir()) == [file]
        if lived:
            break
    assert fatal > 5
    assert len(seen) == 2


def test_the_bytes_are_on_disk_before_the_name_and_the_name_before_the_return(tmp_path, monkeypatch):
    calls = []
    for name in ("write", "fsync", "replace"):
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _f=original, _n=name: (calls.append(_n), _f(*a))[1])
    write_atomic(tmp_path / "file", b"x")
    assert calls == ["write", "fsync", "replace", "fsync"]


def test_a_new_file_has_the_mode_that_the_umask_leaves_of_0644(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_missing_folders_are_made(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "file", b"x")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"x"


def test_a_folder_that_may_not_be_written_to_is_the_users_to_mend(locked_folder):
    with pytest.raises(InputError, match=r"run\.json: cannot be written \(Permission denied\)"):
        write_json(locked_folder / "run.json", {})
    with pytest.raises(InputError, match=r"runs: cannot be written \(Permission denied\)"):
        write_json(locked_folder / "runs" / "run.json", {})


def test_a_file_where_a_folder_must_be_is_the_users_to_mend(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_json(tmp_path / "runs" / "run.json", {})


def test_a_full_disk_is_no_input_error_and_leaves_the_old_file_alone(tmp_path):
    write_atomic(tmp_path / "file", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="file") as caught:
            write_atomic(tmp_path / "file", b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def json_values():
    leaf = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    return st.recursive(leaf | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=20)


@given(json_values())
def test_json_data_comes_back_equal(tmp_path_factory, value):
    file = tmp_path_factory.getbasetemp() / "value.json"
    file.write_bytes(json.dumps(jsonable(value), allow_nan=False).encode())
    assert read_json(file) == value


def test_files_written_as_json_come_back_equal_with_their_key_order(tmp_path):
    value = {"z": 1, "a": "é \udcff", "list": [1.5, None, True]}  # the escape stands for an undecodable file name
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value
    assert list(read_json(tmp_path / "value.json")) == ["z", "a", "list"]


def test_records_take_numpy_paths_and_dataclasses():
    @dataclasses.dataclass
    class Point:
        x: float
        where: Path

    value = {
        "scalar": np.float32(0.5),
        "flag": np.bool_(True),
        3: np.int64(4),
        "array": np.array([[1.0, np.nan], [np.inf, 2.0]]),
        "point": Point(1.0, Path("a/b")),
        "pair": (1, 2),
    }
    assert jsonable(value) == {
        "scalar": 0.5,
        "flag": True,
        "3": 4,
        "array": [[1.0, None], [None, 2.0]],
        "point": {"x": 1.0, "where": "a/b"},
        "pair": [1, 2],
    }


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -np.inf, np.float32("nan"), np.array(np.inf)])
def test_numbers_that_are_not_finite_become_null(number, tmp_path):
    write_json(tmp_path / "value.json", {"number": number})
    assert json.loads((tmp_path / "value.json").read_text()) == {"number": None}


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes", {True: 1}, {1.5: 1}, int])
def test_a_type_without_a_place_in_json_is_refused(value):
    with pytest.raises(TypeError, match="record"):
        jsonable(value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"a": NaN}', b"\xff", b"[" * 100_000, b'{"a": 1} x', b"1" * 5000], ids=range(7)
)
def test_a_corrupt_json_file_is_named(content, tmp_path):
    (tmp_path / "status.json").write_bytes(content)
    with pytest.raises(InputError, match=r"status\.json: corrupt, must be JSON"):
        read_json(tmp_path / "status.json")


def test_a_missing_json_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"status\.json: no such file"):
        read_json(tmp_path / "status.json")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_json(tmp_path)


def test_records_do_without_torch():
    modules = "gpt.records.run_folder, gpt.records.files, gpt.records.jsonl, gpt.records.schema"
    subprocess.run([sys.executable, "-c", f"import sys, {modules}; assert 'torch' not in sys.modules"], check=True)
