"""gpt's own command on several ranks."""

import argparse
from collections.abc import Sequence

from gpt.errors import InputError
from gpt.yaml_file import read_yaml

LAUNCHED = ("train", "study")
"""commands that `gpt launch` starts; the first of these words begins one"""


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line as the launch's own words and the command that it starts."""
    own = next((place for place, word in enumerate(words) if word in LAUNCHED), len(words))
    return list(words[:own]), list(words[own:])


def launch_ranks(options: argparse.Namespace) -> int:
    """Start the ranks, and wait for them."""
    from gpt.runner.launch.supervise import launcher_command, supervise

    if not options.launch.is_file():
        raise InputError(f"{options.launch}: no such file; LAUNCH.yaml comes first, launch/ has some")
    if "distributed_type" not in read_yaml(options.launch).data:
        raise InputError(f"{options.launch}: no distributed_type, must be a file for accelerate; launch/ has some")
    if options.n is not None and options.n < 1:
        raise InputError(f"-n: got {options.n}, must be at least 1")
    if not options.grace > 0:
        raise InputError(f"--grace: got {options.grace:g}, must be more than 0 seconds")
    if not options.launched:
        raise InputError(f"gpt launch: nothing to start after {options.launch}, must be gpt's own train or study ...")
    command = launcher_command(options.launch, options.n, options.overrides, options.launched)
    return supervise(command, options.grace)
