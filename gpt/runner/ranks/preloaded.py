"""What the fork server imports, for the ranks that it forks."""

import atexit
import os

import gpt.runner.worker  # noqa: F401  # loaded before ranks are forked

atexit.register(os._exit, 0)  # the server's own end: to take torch apart costs half a second
