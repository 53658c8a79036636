import itertools
import math
import os
import resource

import numpy as np
import pytest

from gpt.errors import InputError
from gpt.records.jsonl import NOTHING, JsonlWriter, read_jsonl
from gpt.records.manifest import entry

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def rows(first, last):
    return [{"step": step, "train/loss": 1 / (step + 1), "text": "é\u2028"} for step in range(first, last + 1)]


def write(path, new_rows, keep=NOTHING):
    """The mark after the rows."""
    with JsonlWriter(path, keep) as writer:
        writer.append(new_rows)
        return writer.offset()


def mark_of(path, count):
    """The mark of the first rows of a file."""
    return entry(b"".join(path.read_bytes().splitlines(keepends=True)[:count]))


def test_rows_come_back_equal_and_in_order(tmp_path):
    mark = write(tmp_path / "m", rows(0, 9))
    write(tmp_path / "m", rows(10, 12), mark)
    assert read_jsonl(tmp_path / "m") == rows(0, 12)


def test_a_mark_is_size_and_hash_of_what_is_written(tmp_path):
    with JsonlWriter(tmp_path / "m") as writer:
        for step in range(4):
            writer.append(rows(step, step))
            assert writer.offset() == entry((tmp_path / "m").read_bytes())
        mark = writer.offset()
    with JsonlWriter(tmp_path / "m", mark) as writer:
        assert writer.offset() == mark


def test_a_run_resumed_at_any_step_leaves_the_same_bytes_as_one_never_stopped(tmp_path):
    write(tmp_path / "straight", rows(0, 8))
    expected = (tmp_path / "straight").read_bytes()
    for kept in range(10):
        mark = mark_of(tmp_path / "straight", kept)
        for torn in range(mark["bytes"], len(expected), 7):
            (tmp_path / "resumed").write_bytes(expected[:torn])
            write(tmp_path / "resumed", rows(kept, 8), mark)
            assert (tmp_path / "resumed").read_bytes() == expected


def test_a_run_killed_at_any_call_and_resumed_leaves_the_same_bytes(tmp_path, kill_at_call):
    file = tmp_path / "m"

    def run(keep=NOTHING):
        with JsonlWriter(file, keep) as writer:
            for step in range(len(read_jsonl(file)), 4):
                writer.append(rows(step, step))
                writer.sync()

    run()
    expected = file.read_bytes()
    for fatal in itertools.count(1):
        file.unlink()
        if kill_at_call(fatal, run):
            break
        run(mark_of(file, len(read_jsonl(file))) if file.exists() else NOTHING)
        assert file.read_bytes() == expected
    assert fatal > 10


def test_starting_over_keeps_nothing(tmp_path):
    write(tmp_path / "m", rows(0, 5))
    write(tmp_path / "m", [])
    assert (tmp_path / "m").read_bytes() == b""


def test_what_follows_the_mark_goes_whatever_it_is(tmp_path):
    mark = write(tmp_path / "m", rows(0, 3))
    kept = (tmp_path / "m").read_bytes()
    for rest in (b"{", b"\xff\n{}\n", b'{"step":1}\n', b"\0" * 5000):
        (tmp_path / "m").write_bytes(kept + rest)
        write(tmp_path / "m", [], mark)
        assert (tmp_path / "m").read_bytes() == kept


def test_numbers_that_are_not_finite_are_written_as_null(tmp_path):
    write(tmp_path / "m", [{"step": np.int64(1), "a": math.nan, "b": [np.float32("inf"), 1.0]}])
    assert (tmp_path / "m").read_text() == '{"step":1,"a":null,"b":[null,1.0]}\n'


def test_rows_appended_together_are_one_write(tmp_path, monkeypatch):
    writes = []
    original = os.write
    with JsonlWriter(tmp_path / "m") as writer:
        monkeypatch.setattr(os, "write", lambda fd, data: (writes.append(len(data)), original(fd, data))[1])
        writer.append(rows(1, 5))
        writer.append([])
    assert writes == [(tmp_path / "m").stat().st_size]


def test_what_is_synced_is_synced(tmp_path, monkeypatch):
    synced = []
    with JsonlWriter(tmp_path / "m") as writer:
        writer.append(rows(1, 1))
        monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
        writer.sync()
    assert synced[0] == (tmp_path / "m").stat().st_ino


def test_a_write_that_does_not_fit_leaves_none_of_its_rows(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with JsonlWriter(tmp_path / "m") as writer:
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
    mark = write(tmp_path / "m", rows(1, 2))
    with (tmp_path / "m").open("ab") as file:
        file.write(tail)
    assert read_jsonl(tmp_path / "m") == rows(1, 2)
    write(tmp_path / "m", rows(3, 3), mark)
    assert read_jsonl(tmp_path / "m") == rows(1, 3)


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b"3", b'{"step":1,"a":NaN}', b"\xff", b"\x00"])
@pytest.mark.parametrize("last", [True, False])
def test_any_other_corrupt_line_is_named(line, last, tmp_path):
    content = b'{"step":0}\n' + line + b"\n" + (b"" if last else b'{"step":2}\n')
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(InputError, match=r"m:2: corrupt, must be a JSON object"):
        read_jsonl(tmp_path / "m")


def test_rows_that_are_not_those_of_the_mark_are_not_built_upon(tmp_path):
    mark = write(tmp_path / "m", rows(0, 3))
    whole = (tmp_path / "m").read_bytes()
    for changed in (whole.replace(b"0.5", b"0.6"), whole[:-1], b"", whole[1:] + b"\n"):
        (tmp_path / "m").write_bytes(changed)
        with pytest.raises(InputError, match=r"m: corrupt, its first \d+ bytes are not as they were written"):
            JsonlWriter(tmp_path / "m", mark)
        assert (tmp_path / "m").read_bytes() == changed


def test_steps_never_go_back_within_a_run(tmp_path):
    with JsonlWriter(tmp_path / "m") as writer:
        writer.append(rows(5, 5))
        with pytest.raises(AssertionError, match="step 4 after step 5"):
            writer.append(rows(4, 4))


def test_places_that_cannot_be_read_or_written_are_named(tmp_path, locked_folder):
    with pytest.raises(InputError, match=r"metrics\.jsonl: cannot be written \(Permission denied\)"):
        JsonlWriter(locked_folder / "metrics.jsonl")
    with pytest.raises(InputError, match=r"metrics\.jsonl: no such file"):
        read_jsonl(locked_folder / "metrics.jsonl")
