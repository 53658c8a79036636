"""W&B sync as the process sees it that trains: started before, ended after, and never waited for in between."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from types import FrameType

from gpt.errors import InputError
from gpt.records.files import make_folder
from gpt.wandb_sync.follow import READY
from gpt.wandb_sync.targets import Destination

READY_SECONDS = 60.0
"""time that W&B's library has to be imported and to find its credentials"""
GRACE_SECONDS = 60.0
"""time that it has for what is left when everything is trained"""
STOPPED_SECONDS = 10.0
"""the same where training was stopped on request, as a scheduler's patience is short"""
PATIENCE_SECONDS = 120.0
"""time without any progress after which `gpt wandb sync` gives up"""
DAYS = 30 * 86_400.0
ACCOUNT = (
    "WANDB_API_KEY", "WANDB_APP_URL", "WANDB_ARTIFACT_DIR", "WANDB_BASE_URL", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR",
    "WANDB_CORE_DEBUG", "WANDB_CREDENTIALS_FILE", "WANDB_DATA_DIR", "WANDB_DEBUG", "WANDB_DIR", "WANDB_ENTITY",
    "WANDB_ERROR_REPORTING", "WANDB_FILE_PUSHER_TIMEOUT", "WANDB_HTTP", "WANDB_IDENTITY_TOKEN_FILE",
    "WANDB_INSECURE_DISABLE_SSL", "WANDB_ORGANIZATION", "WANDB_USERNAME", "WANDB_USER_EMAIL", "WANDB_X_EXTRA_HTTP",
    "WANDB_X_FILE_", "WANDB_X_GRAPHQL_", "WANDB_X_PROXIES",
)  # fmt: skip
"""how W&B's variables begin that say who sends, where to and how; all others are of one run, as W&B's agent sets its id
and sweep, and here are several
"""


@dataclass
class SyncProcess:
    """The running process of the sync; none where it was not wanted."""

    process: "subprocess.Popen[str] | None"
    short_timeout: bool = False
    """wait for it as long as a scheduler's patience allows, not longer"""


@contextlib.contextmanager
def synced(destination: Destination, wanted: bool) -> Iterator[SyncProcess]:
    """Sync runs while they are trained, and for a bounded time after; what is then missing is said, and no error.

    Args:
        wanted: False does nothing.

    Raises:
        InputError: W&B's library finds no credentials for its server.
    """
    if not wanted or destination.mode == "disabled":
        yield SyncProcess(None)
        return
    targets = destination.iter_runs()
    syncing = SyncProcess(_start(destination, GRACE_SECONDS, GRACE_SECONDS))
    try:
        yield syncing
    finally:
        _finish(syncing.process, STOPPED_SECONDS if syncing.short_timeout else GRACE_SECONDS)
        missing, total = destination.count_missing(targets), len(targets) + len(destination.studies)
        if missing:
            what = f"{missing} of {total} runs and reports have not arrived at W&B"
            catch_up = f"gpt wandb sync {destination.out} --mode {destination.mode} catches up"
            print(f"gpt: {what}, {destination.log} says why; {catch_up}", file=sys.stderr)


def sync(destination: Destination) -> tuple[int, int]:
    """Send whatever is missing, for as long as there is progress.

    Returns:
        How many runs and reports are missing now, and how many there are.

    Raises:
        InputError: W&B's library finds no credentials for its server.
    """
    targets = destination.iter_runs()
    _finish(_start(destination, PATIENCE_SECONDS, DAYS), DAYS)
    return destination.count_missing(targets), len(targets) + len(destination.studies)


def _start(destination: Destination, patience: float, total: float) -> "subprocess.Popen[str] | None":
    """The process of `gpt.wandb_sync.follow`, in a session of its own, so that a terminal's signals do not reach it.

    None where the system has no room for it, which is said and no reason not to train.
    """
    make_folder(destination.root)
    orders = {**asdict(destination), "out": str(destination.out), "patience": patience, "total": total}
    inherited = {
        n: v for n, v in os.environ.items() if not n.startswith(("WANDB_", "_WANDB_")) or n.startswith(ACCOUNT)
    }
    settings = {"WANDB_MODE": destination.mode, "WANDB_SILENT": "true", "PYTHONIOENCODING": "utf-8"}
    try:
        with destination.log.open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "gpt.wandb_sync.follow"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                env={"WANDB_DIR": str(destination.out.absolute()), **inherited, **settings},
                start_new_session=True,
            )
    except OSError as error:
        print(f"gpt: W&B sync cannot be started: {error}", file=sys.stderr)
        return None
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(orders) + "\n")
        process.stdin.flush()
    heard, _, _ = select.select([process.stdout], [], [], READY_SECONDS)
    answer = process.stdout.readline().strip() if heard else ""
    process.stdout.close()
    if answer == READY:
        return process
    _kill(process)
    if not answer:
        print(f"gpt: W&B sync did not start, see {destination.log}", file=sys.stderr)
        return None
    raise InputError(
        f"W&B is wanted online, but {answer.rstrip('.')}; set WANDB_API_KEY, or sync offline and `wandb sync` later"
    )


def _finish(process: "subprocess.Popen[str] | None", seconds: float) -> None:
    """Tell the sync to come to an end, and kill it where it does not, or where the user will not wait."""
    if process is None:
        return
    deadline, short_timeout = time.monotonic() + seconds, False

    def stop_waiting(_number: int, _frame: FrameType | None) -> None:
        nonlocal short_timeout
        short_timeout = True

    assert process.stdin is not None
    before = {n: signal.signal(n, stop_waiting) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        while process.poll() is None and time.monotonic() < deadline and not short_timeout:
            time.sleep(0.1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _kill(process)


def _kill(process: "subprocess.Popen[str]") -> None:
    """End the process; W&B's service, its child, watches it and ends too."""
    process.kill()
    process.wait()
    with contextlib.suppress(BrokenPipeError):
        if process.stdin:
            process.stdin.close()
