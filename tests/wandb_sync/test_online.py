"""Claims about W&B's server: what it holds in the end, and that its absence costs training nothing."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import GPT, Command, records, rows_of, run_command, runs_of, started, wait_for
from expected import NOT_NUMBERS, expected_rows, same
from tally import Tally
from wandb_server import KEY, Server, serving

pytestmark = pytest.mark.wandb_server

LONGEST = 60 + 45
"""seconds: what the sync has after training, and a tiny run on a busy machine"""


def numbers(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key.split("/")[0] not in NOT_NUMBERS} for row in history]


def holds_all_runs(server: Server, out: Path, project: str) -> None:
    """Every number of every run, once."""
    for run in runs_of(out):
        served = server.runs[project, run.root.name]
        same(numbers(served.history), expected_rows(run))
        assert [line["_step"] for line in served.history] == [row["step"] for row in rows_of(run)]
        assert served.summary["status"] == run.read_status().state == "done"
        assert served.exit_code == 0


def sync_of(command: Command) -> int:
    """The process that syncs."""
    (pid,) = [pid for pid, words in command.running().items() if "gpt.wandb_sync.follow" in words]
    return pid


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    return monkeypatch


@contextmanager
def black_hole() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as hole:
        yield f"http://127.0.0.1:{hole.getsockname()[1]}"


@contextmanager
def nobody() -> Iterator[str]:
    """An address where no server is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextmanager
def sluggish() -> Iterator[str]:
    """The address of a server whose every answer takes longer than a run is given to open."""
    with serving(delay=20.0) as server:
        yield server.url


def test_the_server_holds_a_study_and_its_report(online: pytest.MonkeyPatch, tiny_study: Path, tmp_path: Path) -> None:
    tiny_study.write_text(tiny_study.read_text().replace("seeds: 3", "seeds: 2"))
    out = tmp_path / "out"
    with serving() as server:
        online.setenv("WANDB_BASE_URL", server.url)
        code, said = run_command([*GPT, "study", "run", tiny_study, "--out", out, "--wandb", "online"], tmp_path)
        assert code == 0, said
        assert "W&B" not in said
        holds_all_runs(server, out, "tiny")
        assert len(server.runs) == 5
        tables = [path for path in server.uploads if path.endswith(".table.json")]
        assert any("dependency" in path for path in tables)
        assert "/upload/artifact/report.md" in server.uploads
        about = server.runs["tiny", runs_of(out)[0].root.name].attributes
        assert about["jobType"] == "run"
        assert about["groupName"] in ("pre", "post")


@pytest.fixture
def long_file(tiny_file: Path) -> Path:
    """A run that is still going on when W&B's library sends rows for the first time, which it does every 15 s."""
    tiny_file.write_text(tiny_file.read_text().replace("steps: 40", "steps: 100000"))
    return tiny_file


def has_rows(server: Server) -> bool:
    return any(len(served.lines) > 60 for served in server.runs.values())


def holds_what_there_is(server: Server, out: Path) -> None:
    """Every number of a run that was broken off, once, but for the last row, which waits for what follows it."""
    (served,), (run,) = server.runs.values(), runs_of(out)
    same(numbers(served.history), expected_rows(run)[:-1])
    assert served.summary["status"] == run.read_status().state
    assert served.exit_code == 1


@pytest.mark.fault("the mirror to W&B killed")
@pytest.mark.parametrize("killed", ["sync", "everything"])
def test_a_sync_killed_in_the_middle_sends_no_row_twice(
    online: pytest.MonkeyPatch, long_file: Path, tmp_path: Path, killed: str
) -> None:
    out = tmp_path / "out"
    with serving() as server:
        online.setenv("WANDB_BASE_URL", server.url)
        with started([*GPT, "train", long_file, "--out", out, "--wandb", "online"], tmp_path) as command:
            wait_for(lambda: has_rows(server), command)
            os.kill(sync_of(command), signal.SIGKILL)
            os.killpg(command.process.pid, signal.SIGKILL if killed == "everything" else signal.SIGINT)
            assert command.wait() == (-signal.SIGKILL if killed == "everything" else 75)
            command.leaves_nothing()
            assert ("1 of 1 runs and reports have not arrived" in command.said) == (killed == "sync")
        (served,) = server.runs.values()
        assert len(served.lines) > 60
        assert served.exit_code is None
        assert run_command([*GPT, "wandb", "sync", out], tmp_path)[0] == 0
        holds_what_there_is(server, out)


@pytest.mark.fault("W&B unreachable, black-holed, slow or silent")
def test_without_a_server_training_ends_in_time_and_the_same_and_is_synced_later(
    online: pytest.MonkeyPatch, tiny_file: Path, tmp_path: Path, faults: Tally
) -> None:
    """A server that never answers, one that is not there, and one that is too slow, all at a time."""
    assert run_command([*GPT, "train", tiny_file, "--out", tmp_path / "alone"], tmp_path)[0] == 0
    with ExitStack() as running:
        commands = {}
        for outage in (black_hole, nobody, sluggish):
            online.setenv("WANDB_BASE_URL", running.enter_context(outage()))
            out = tmp_path / outage.__name__
            words = [*GPT, "train", tiny_file, "--out", out, "--wandb", "online"]
            commands[out] = running.enter_context(started(words, tmp_path))
        began = time.monotonic()
        for out, command in commands.items():
            with faults.one():
                assert command.wait(LONGEST - (time.monotonic() - began)) == 0, command.said
                command.leaves_nothing()
                assert "gpt: 1 of 1 runs and reports have not arrived at W&B" in command.said
                assert f"gpt wandb sync {out} --mode online catches up" in command.said
                assert records(out) == records(tmp_path / "alone")
            faults.saw("longest wait, seconds", round(time.monotonic() - began, 1))
    with serving() as server:
        online.setenv("WANDB_BASE_URL", server.url)
        code, said = run_command([*GPT, "wandb", "sync", out], tmp_path)
        assert (code, said) == (0, "W&B, online: 1 of 1 runs and reports are synced\n")
        holds_all_runs(server, out, "gpt-study")


@pytest.mark.fault("W&B unreachable, black-holed, slow or silent")
def test_a_server_that_comes_back_before_the_end_is_told_everything(
    online: pytest.MonkeyPatch, tiny_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with nobody() as address:
        port = int(address.rpartition(":")[2])
    online.setenv("WANDB_BASE_URL", address)
    words = [*GPT, "train", tiny_file, "--out", out, "--wandb", "online"]
    with started(words, tmp_path) as command:
        wait_for(lambda: any("done" in path.read_text() for path in out.glob("runs/*/status.json")), command)
        with serving(port) as server:
            assert command.wait() == 0, command.said
            command.leaves_nothing()
            holds_all_runs(server, out, "gpt-study")


def test_wandb_online_without_a_key_is_refused_before_training(tiny_study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, said = run_command([*GPT, "study", "run", tiny_study, "--out", out, "--wandb", "online"], tmp_path)
    assert code == 2
    assert "No API key" in said
    assert "set WANDB_API_KEY" in said
    assert said.count("\n") == 1
    assert not (out / "runs").exists()


def test_the_last_state_is_on_the_server_though_ctrl_c_stopped_training(
    online: pytest.MonkeyPatch, long_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with serving() as server:
        online.setenv("WANDB_BASE_URL", server.url)
        with started([*GPT, "train", long_file, "--out", out, "--wandb", "online"], tmp_path) as command:
            wait_for(lambda: has_rows(server), command)
            os.killpg(command.process.pid, signal.SIGINT)
            assert command.wait() == 75
            command.leaves_nothing()
            assert "have not arrived" not in command.said
        holds_what_there_is(server, out)


@pytest.mark.fault("W&B unreachable, black-holed, slow or silent")
def test_a_server_that_falls_silent_in_the_middle_holds_up_nothing(
    online: pytest.MonkeyPatch, long_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with serving() as server:
        online.setenv("WANDB_BASE_URL", server.url)
        with started([*GPT, "train", long_file, "--out", out, "--wandb", "online"], tmp_path) as command:
            wait_for(lambda: has_rows(server), command)
            server.delay = 1000.0
            os.killpg(command.process.pid, signal.SIGINT)
            began = time.monotonic()
            assert command.wait() == 75
            assert time.monotonic() - began < 45
            command.leaves_nothing()
            assert "1 of 1 runs and reports have not arrived" in command.said
        known = dict(server.runs)
    with serving() as server:
        server.runs = known
        online.setenv("WANDB_BASE_URL", server.url)
        assert run_command([*GPT, "wandb", "sync", out], tmp_path)[0] == 0
        holds_what_there_is(server, out)
