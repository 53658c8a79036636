"""The `gpt` command: reads arguments, calls a command, turns its answer into an exit code."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from gpt.commands.launching import launch_ranks
from gpt.commands.output import say
from gpt.commands.parser import TRAINING, read_arguments
from gpt.commands.surroundings import keep_imports, open_streams
from gpt.errors import InputError
from gpt.runner.launch.exit_codes import BAD_INPUT, OUTPUT_CLOSED, STOPPED, end_process
from gpt.runner.launch.signals import STOP_SIGNALS

if TYPE_CHECKING:
    from gpt.runner.launch.rank_registry import RegisteredRank

STOPPED_EARLY = "gpt: stopped on request; run the same command again to resume"
LATER_RANKS_SECONDS = 5
"""time that ranks other than 0 wait before they complain of what rank 0 will most likely have complained of"""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command, by default the one of this process, and exit with its code."""
    open_streams()
    keep_imports()
    registered = None
    try:
        registered = register_rank()
        options = read_arguments(sys.argv[1:] if arguments is None else arguments)
        if options.command in (*TRAINING, launch_ranks):
            for number in STOP_SIGNALS:
                signal.signal(number, stop_at_once)
        code = options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:
        code = OUTPUT_CLOSED
    except (InputError, OSError) as error:
        complain(error)
        code = BAD_INPUT
    except RecursionError:
        complain(InputError("a file is nested too deeply, or contains itself; must be plain keys and values"))
        code = BAD_INPUT
    except KeyboardInterrupt:
        say(STOPPED_EARLY)
        code = STOPPED
    discard_output()
    if registered:
        code = registered.note(code)
    if arguments is None:
        end_process(code)
    raise SystemExit(code)


def register_rank() -> "RegisteredRank | None":
    """Where `gpt launch` started this process as a rank, enter it on the launch's registry."""
    if "GPT_RANK_REGISTRY" not in os.environ:
        return None
    from gpt.runner.launch.rank_registry import register_rank

    return register_rank(os.environ)


def stop_at_once(_number: int, _frame: FrameType | None) -> NoReturn:
    """Obey a request to stop that comes while nothing is trained: before the first step, or while a report is made."""
    os.write(2, f"{STOPPED_EARLY}\n".encode())
    os._exit(STOPPED)


def complain(error: Exception) -> None:
    """Say what is wrong, once: where a launcher started several processes, rank 0 ends them all with its complaint."""
    if os.environ.get("RANK", "").strip("0").isdecimal():
        time.sleep(LATER_RANKS_SECONDS)
    if isinstance(error, OSError) and error.strerror:
        error = InputError(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    say(f"gpt: {error}")


def discard_output() -> None:
    """Drop what standard output does not take any more, so that Python has nothing to complain of at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
