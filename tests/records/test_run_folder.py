import contextlib
import errno
import fcntl
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors import safe_open

from gpt.errors import InputError
from gpt.records.run_folder import RunFolder, Status, load_arrays, save_arrays

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

HOLDER = """
import pathlib, sys, time
from gpt.records.run_folder import RunFolder
lease = RunFolder(pathlib.Path(sys.argv[1])).try_lease()
print("held" if lease else "refused", flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def holder_of(run):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(run.root)], stdout=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "runs" / "0123456789abcdef")


def test_a_lease_is_refused_while_another_process_holds_it_and_free_once_that_is_killed(run):
    with holder_of(run) as (process, answer):
        assert answer == "held"
        assert run.try_lease() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        with run.try_lease() as lease, holder_of(run) as (_, second):
            assert lease is not None
            assert second == "refused"


def test_a_lease_is_refused_to_the_same_process_until_it_is_closed(run):
    with run.try_lease():
        assert run.try_lease() is None
    run.try_lease().close()


def test_of_many_processes_one_gets_the_lease(run):
    with contextlib.ExitStack() as stack:
        answers = [stack.enter_context(holder_of(run))[1] for _ in range(4)]
    assert sorted(answers) == ["held", "refused", "refused", "refused"]


def test_a_program_that_the_holder_starts_does_not_inherit_the_lease(run):
    lease = run.try_lease()
    with subprocess.Popen(["sleep", "60"], close_fds=False) as other:
        os.close(lease._descriptor)  # as death would
        try:
            run.try_lease().close()
        finally:
            other.kill()


@contextlib.contextmanager
def forked_child():
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_holder_that_dies_keeps_the_lease_while_its_forked_child_lives(run):
    lease = run.try_lease()
    with forked_child():
        os.close(lease._descriptor)  # as death would
        assert run.try_lease() is None
    run.try_lease().close()


def test_a_holder_that_closes_the_lease_frees_it_although_its_forked_child_lives(run):
    lease = run.try_lease()
    with forked_child():
        lease.close()
        run.try_lease().close()


def test_taking_the_lease_removes_what_a_killed_writer_left(run, kill_at_call):
    status = Status("running", 1, 2)

    def work():
        run.write_status(status)
        save_arrays(run.probe_file(1), {"a": np.zeros(3)}, {})

    fatal = 1
    found = set()
    while not kill_at_call(fatal, work):
        leftovers = {file.parent.name for file in run.root.rglob(".*.tmp")}
        found |= leftovers
        run.try_lease().close()
        assert not list(run.root.rglob(".*.tmp"))
        fatal += 1
    assert found == {run.root.name, "probes"}


def test_a_folder_that_may_not_be_written_to_cannot_be_leased(locked_folder):
    with pytest.raises(InputError, match=r"lease: cannot be written \(Permission denied\)"):
        RunFolder(locked_folder).try_lease()
    with pytest.raises(InputError, match=r"0123: cannot be written \(Permission denied\)"):
        RunFolder(locked_folder / "0123").try_lease()


def test_a_file_system_without_locks_is_named(run, monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(InputError, match=r"lease: cannot be locked \(No locks available\)"):
        run.try_lease()


def test_a_run_without_a_status_is_planned(run):
    assert run.read_status() == Status("planned", 0, 0)
    assert not run.finished


@pytest.mark.parametrize("state", ["planned", "running", "done", "diverged", "failed", "preempted"])
def test_a_status_comes_back_equal(run, state):
    status = Status(state, 3, 10, why="because", attempts=2, seconds=1.25)
    run.write_status(status)
    assert run.read_status() == status
    assert run.finished == (state in ("done", "diverged"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must be JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "state: field required"),
        ('{"state": "over", "step": 1, "steps": 2}', "state: input should be .* got 'over'"),
        ('{"state": "done", "step": -1, "steps": 2}', "step: input should be greater .* got -1"),
        ('{"state": "done", "step": 1.0, "steps": 2}', "step: input should be a valid integer, got 1.0"),
        ('{"state": "done", "step": 1, "steps": 2, "colour": 3}', "colour: unexpected"),
    ],
)
def test_a_corrupt_status_is_named(run, text, problem):
    run.root.mkdir(parents=True)
    run.status_json.write_text(text)
    with pytest.raises(InputError, match=rf"status\.json: corrupt.*{problem}"):
        run.parse_status()
    assert run.read_status().state == "failed"
    assert re.search(rf"status\.json: corrupt.*{problem}", run.read_status().why)
    assert not run.finished


def test_probe_files_are_found_by_step(run):
    assert run.probe_steps() == []
    for step in (300, 100, 200, 123_456_789):
        save_arrays(run.probe_file(step), {"norm": np.array([step])}, {})
    (run.probes / "step-5.safetensors").touch()
    (run.probes / "step-000000400.safetensors").touch()
    assert run.probe_file(100).name == "step-00000100.safetensors"
    assert run.probe_steps() == [100, 200, 300, 123_456_789]
    run.drop_probes_after(200)
    assert run.probe_steps() == [100, 200]
    assert load_arrays(run.probe_file(200))["norm"].item() == 200


def arrays():
    rng = np.random.default_rng(0)
    return {
        "float32": rng.normal(size=(3, 4)).astype(np.float32),
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "strided": np.arange(10)[::3],
        "big_endian": np.arange(3, dtype=">f8"),
        "flag": np.array([True, False]),
        "half": np.array([1.5], np.float16),
        "scalar": np.array(3.5),
        "empty": np.zeros((0, 2)),
        "odd": np.array([np.nan, np.inf, -0.0]),
    }


def test_arrays_and_metadata_come_back_equal(tmp_path):
    metadata = {"unit": "nats", "text": 'quote " and é', "sealed": "0" * 64}
    save_arrays(tmp_path / "a", arrays(), metadata)
    loaded = load_arrays(tmp_path / "a")
    assert set(loaded) == set(arrays())
    for name, array in arrays().items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].shape == array.shape
        assert loaded[name].dtype == array.dtype.newbyteorder("=")
    with safe_open(tmp_path / "a", framework="numpy") as file:
        assert json.loads(file.metadata()["sealed"].partition(" ")[2]) == metadata


def test_equal_arrays_and_metadata_give_equal_bytes_in_another_process(tmp_path):
    metadata = {f"key {i}": f"value {i}" for i in range(8)}
    code = (
        "import sys, pathlib, numpy as np; from gpt.records.run_folder import save_arrays;"
        "arrays = {'b': np.arange(3), 'a': np.ones(2)};"
        f"save_arrays(pathlib.Path(sys.argv[1]), arrays, {dict(reversed(metadata.items()))})"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], check=True)
    save_arrays(tmp_path / "here", {"a": np.ones(2), "b": np.arange(3)}, metadata)
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


def test_other_programs_can_read_the_arrays(tmp_path):
    save_arrays(tmp_path / "a", {"x": np.arange(3)}, {"unit": "nats"})
    with safe_open(tmp_path / "a", framework="numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("x"), np.arange(3))


def test_every_flipped_bit_and_every_truncation_of_arrays_is_noticed(tmp_path):
    file = tmp_path / "probe"
    save_arrays(file, {"x": np.arange(4)}, {"unit": "nats"})
    whole = file.read_bytes()
    for bit in range(len(whole) * 8):
        corrupt = bytearray(whole)
        corrupt[bit // 8] ^= 1 << bit % 8
        file.write_bytes(corrupt)
        with pytest.raises(InputError, match="probe: corrupt"):
            load_arrays(file)
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(InputError, match="probe: corrupt"):
            load_arrays(file)
    file.write_bytes(whole + random.Random(0).randbytes(1))
    with pytest.raises(InputError, match="probe: corrupt"):
        load_arrays(file)
