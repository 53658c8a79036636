import itertools
import json
import math
import os
import resource

import numpy as np
import pytest

from gpt.errors import InputError
from gpt.records.jsonl import JsonlWriter, read_jsonl

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def rows(first, last):
    return [{"step": step, "train/loss": 1 / (step + 1), "text": "é\u2028"} for step in range(first, last + 1)]


def write(path, new_rows, keep_through=-1):
    with JsonlWriter(path, keep_through=keep_through) as writer:
        writer.append(new_rows)


def test_rows_come_back_equal_and_in_order(tmp_path):
    write(tmp_path / "m", rows(0, 9))
    write(tmp_path / "m", rows(10, 12), keep_through=9)
    assert read_jsonl(tmp_path / "m") == rows(0, 12)


def test_a_run_resumed_at_any_step_leaves_the_same_bytes_as_one_never_stopped(tmp_path):
    write(tmp_path / "straight", rows(1, 8))
    expected = (tmp_path / "straight").read_bytes()
    for torn, step in itertools.product(range(0, len(expected), 7), range(9)):
        (tmp_path / "resumed").write_bytes(expected[:torn])
        on_disk = len(read_jsonl(tmp_path / "resumed"))
        write(tmp_path / "resumed", rows(min(step, on_disk) + 1, 8), keep_through=step)
        assert (tmp_path / "resumed").read_bytes() == expected


def test_a_run_killed_at_any_call_and_resumed_leaves_the_same_bytes(tmp_path, kill_at_call):
    file = tmp_path / "m"

    def run(resume_at=-1):
        with JsonlWriter(file, keep_through=resume_at) as writer:
            for step in range(resume_at + 1, 4):
                writer.append(rows(step, step))
                writer.sync()

    run()
    expected = file.read_bytes()
    for fatal in itertools.count(1):
        file.unlink()
        if kill_at_call(fatal, run):
            break
        last = read_jsonl(file)[-1]["step"] if file.exists() and read_jsonl(file) else -1
        run(resume_at=last)
        assert file.read_bytes() == expected
    assert fatal > 10


def test_starting_over_keeps_nothing(tmp_path):
    write(tmp_path / "m", rows(0, 5))
    write(tmp_path / "m", [], keep_through=-1)
    assert (tmp_path / "m").read_bytes() == b""


def test_several_rows_of_one_step_stay_and_go_together(tmp_path):
    events = [{"step": 3, "kind": "spike"}, {"step": 7, "kind": "spike"}, {"step": 7, "kind": "nonfinite"}]
    write(tmp_path / "events", events)
    write(tmp_path / "events", [], keep_through=7)
    assert read_jsonl(tmp_path / "events") == events
    write(tmp_path / "events", [], keep_through=6)
    assert read_jsonl(tmp_path / "events") == events[:1]


def test_numbers_that_are_not_finite_are_written_as_null(tmp_path):
    write(tmp_path / "m", [{"step": np.int64(1), "a": math.nan, "b": [np.float32("inf"), 1.0]}])
    assert (tmp_path / "m").read_text() == '{"step":1,"a":null,"b":[null,1.0]}\n'


def test_rows_appended_together_are_one_write(tmp_path, monkeypatch):
    writes = []
    original = os.write
    with JsonlWriter(tmp_path / "m", keep_through=-1) as writer:
        monkeypatch.setattr(os, "write", lambda fd, data: (writes.append(len(data)), original(fd, data))[1])
        writer.append(rows(1, 5))
        writer.append([])
    assert writes == [(tmp_path / "m").stat().st_size]


def test_what_is_synced_is_synced(tmp_path, monkeypatch):
    synced = []
    with JsonlWriter(tmp_path / "m", keep_through=-1) as writer:
        writer.append(rows(1, 1))
        monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
        writer.sync()
    assert synced[0] == (tmp_path / "m").stat().st_ino


def test_a_write_that_does_not_fit_leaves_none_of_its_rows(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with JsonlWriter(tmp_path / "m", keep_through=-1) as writer:
        writer.append(rows(1, 2))
        before = (tmp_path / "m").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (before + 100, hard))
        try:
            with pytest.raises(OSError, match=str(tmp_path / "m")):
                writer.append(rows(3, 10))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (tmp_path / "m").stat().st_size == before
        writer.append(rows(3, 3))
    assert read_jsonl(tmp_path / "m") == rows(1, 3)


@pytest.mark.parametrize("tail", [b"{", b'{"step": 3', b'{"step": 3}', b"\x00\x00", b"\xff"])
def test_a_torn_last_line_is_passed_over(tail, tmp_path):
    write(tmp_path / "m", rows(1, 2))
    with (tmp_path / "m").open("ab") as file:
        file.write(tail)
    assert read_jsonl(tmp_path / "m") == rows(1, 2)
    write(tmp_path / "m", rows(3, 3), keep_through=2)
    assert read_jsonl(tmp_path / "m") == rows(1, 3)


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b"3", b'{"step":1,"a":NaN}', b"\xff", b"\x00"])
@pytest.mark.parametrize("last", [True, False])
def test_any_other_damaged_line_is_named(line, last, tmp_path):
    content = b'{"step":0}\n' + line + b"\n" + (b"" if last else b'{"step":2}\n')
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(InputError, match=r"m:2: damaged, must be a JSON object"):
        read_jsonl(tmp_path / "m")
    with pytest.raises(InputError, match=r"m:2: damaged"):
        JsonlWriter(tmp_path / "m", keep_through=5)
    assert (tmp_path / "m").read_bytes() == content


@pytest.mark.parametrize("second", [{}, {"step": None}, {"step": 1.0}, {"step": True}, {"step": 0}])
def test_rows_without_a_step_or_out_of_order_are_not_built_upon(second, tmp_path):
    (tmp_path / "m").write_text(json.dumps({"step": 1}) + "\n" + json.dumps(second) + "\n")
    with pytest.raises(InputError, match=r"m:2: got step .* after step 1, rows must be in step order"):
        JsonlWriter(tmp_path / "m", keep_through=9)


def test_steps_never_go_back_within_a_run(tmp_path):
    with JsonlWriter(tmp_path / "m", keep_through=-1) as writer:
        writer.append(rows(5, 5))
        with pytest.raises(AssertionError, match="step 4 after step 5"):
            writer.append(rows(4, 4))


def test_places_that_cannot_be_read_or_written_are_named(tmp_path, locked_folder):
    with pytest.raises(InputError, match=r"metrics\.jsonl: cannot be written \(Permission denied\)"):
        JsonlWriter(locked_folder / "metrics.jsonl", keep_through=-1)
    with pytest.raises(InputError, match=r"metrics\.jsonl: no such file"):
        read_jsonl(locked_folder / "metrics.jsonl")
