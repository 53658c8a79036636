"""The exit codes of `gpt`, and how its processes end."""

import os
import sys
from typing import NoReturn

DONE = 0
WRONG = 1
"""`gpt check-gradients` found a wrong layout, or `gpt verify` a wrong record"""
RANK_LOST = 1
"""a rank whose group cannot continue, and a launch that lost one"""
BAD_INPUT = 2
RUNS_FAILED = 3
STOPPED = 75
"""stopped on request; the same command resumes"""
OUTPUT_CLOSED = 141
"""as a shell says of a program that SIGPIPE ended: `gpt study status | head`"""


def end_process(code: int) -> NoReturn:
    """End at once: torch's threads, which outlive a rank group, can abort an interpreter that exits normally, and to
    take torch apart costs half a second.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
