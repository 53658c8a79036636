"""The process that this command's ranks are forked from: it has imported torch and the training, once for all of them.

A rank then starts in a tenth of a second instead of importing for seconds, and ranks share the memory of the code.
The server computes nothing and touches no GPU, so that forking it is safe.
"""

import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import signal

from gpt.runner.launch.signals import STOP_SIGNALS

CONTEXT = multiprocessing.get_context("forkserver")
"""makes the ranks"""


def start_fork_server() -> None:
    """Start the server, unless it runs; it imports while this process goes on, and ends with it.

    Requests to stop are blocked in it and, until they listen, in the ranks: what reaches a whole group of processes is
    passed on to the ranks by this one.
    """
    CONTEXT.set_forkserver_preload(["gpt.runner.ranks.preloaded"])
    multiprocessing.resource_tracker.ensure_running()  # later it would unblock signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def command_is_alive() -> bool:
    """Whether the process that asked for this rank is there."""
    command = multiprocessing.parent_process()
    return command is not None and command.is_alive()
