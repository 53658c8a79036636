"""The `gpt` command: reads arguments, calls a command, turns its answer into an exit code.

0 done; 1 a layout (`gpt check-gradients`) or a record (`gpt verify`) is wrong, or a launch lost a rank; 2 bad input,
one line; 3 some runs failed, named; 75 stopped on request, run again to go on; 141 whoever read the output closed it.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from gpt.commands import studies, tools, training
from gpt.errors import InputError
from gpt.runner.launch.exit_codes import BAD_INPUT, OUTPUT_CLOSED, STOPPED
from gpt.runner.launch.signals import STOP_SIGNALS
from gpt.yaml_file import read_yaml

if TYPE_CHECKING:
    from gpt.runner.launch.rank_registry import RegisteredRank

RENAMED = {"certify": "check-gradients", "--seeds-per-pack": "--seeds-per-process"}
"""words of version 0.1's command line, and what they are now"""
LAUNCHED = ("train", "study")
"""commands that `gpt launch` starts; the first of these words begins one"""
STOPPED_EARLY = "gpt: stopped on request; run the same command again to go on"
LATER_RANKS_SECONDS = 5
"""time that ranks other than 0 wait before they complain of what rank 0 will most likely have complained of"""


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}", file=sys.stderr)
        raise SystemExit(BAD_INPUT)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    registered = register_rank()
    try:
        options = read_arguments(sys.argv[1:] if arguments is None else arguments)
    except InputError as error:
        complain(error)
        raise SystemExit(BAD_INPUT) from None
    if options.command in (training.train, training.run_studies, launch_ranks):
        for number in STOP_SIGNALS:
            signal.signal(number, stop_at_once)
    try:
        code = options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to complain at exit
        code = OUTPUT_CLOSED
    except (InputError, OSError) as error:
        complain(error)
        code = BAD_INPUT
    except RecursionError:
        complain(InputError("a file is nested too deeply, or contains itself; must be plain keys and values"))
        code = BAD_INPUT
    except KeyboardInterrupt:
        print(STOPPED_EARLY, file=sys.stderr)
        code = STOPPED
    if registered:
        code = registered.note(code)
    if registered or "RANK" in os.environ:
        from gpt.runner.ranks.group import end_process

        end_process(code)
    raise SystemExit(code)


def register_rank() -> "RegisteredRank | None":
    """Where `gpt launch` started this process as a rank, enter it on the launch's registry."""
    if "GPT_RANK_REGISTRY" not in os.environ:
        return None
    from gpt.runner.launch.rank_registry import register_rank

    return register_rank(os.environ)


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command; `overrides` are those that are not its own, `launched` is the command of a launch."""
    words = list(arguments)
    for old in [word.partition("=")[0] for word in words[:1] + [word for word in words if word.startswith("--")]]:
        if old in RENAMED:
            raise InputError(f"{old} was renamed; write {RENAMED[old]} instead")
    own = len(words)
    if words[:1] == ["launch"]:
        own = next((place for place, word in enumerate(words) if word in LAUNCHED), own)
    parser = build_parser()
    options, overrides = parser.parse_known_args(words[:own])
    if overrides and options.command not in (training.train, launch_ranks):
        parser.error(f"unknown argument {overrides[0]}")
    options.overrides, options.launched = overrides, words[own:]
    return options


def stop_at_once(_number: int, _frame: FrameType | None) -> NoReturn:
    """Obey a request to stop that comes while nothing is trained: before the first step, or while a report is made."""
    os.write(2, f"{STOPPED_EARLY}\n".encode())
    os._exit(STOPPED)


def complain(error: Exception) -> None:
    """Say what is wrong, once: where a launcher started several processes, rank 0 ends them all with its complaint."""
    if int(os.environ.get("RANK") or 0):
        time.sleep(LATER_RANKS_SECONDS)
    print(f"gpt: {error}", file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="gpt", description="Controlled multi-seed studies of a GPT's design choices.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        group: "argparse._SubParsersAction[Parser]", name: str, run: Callable[..., int]
    ) -> argparse.ArgumentParser:
        lines = (run.__doc__ or "").strip().splitlines()
        added = group.add_parser(name, help=lines[0], description="\n".join(lines), allow_abbrev=False)
        added.set_defaults(command=run)
        return added

    data = command(commands, "data", tools.fetch_data)
    data.add_argument("source", nargs="?", default="tiny_shakespeare", help="corpus name, or a text file to check")

    one = command(commands, "train", training.train)
    one.add_argument("run", type=Path, metavar="RUN.yaml")
    one.add_argument("--fields", action="store_true", help="show every field, its meaning and this file's value")
    add_place(one)
    one.set_defaults(processes="auto", seeds_per_process="1")

    study = commands.add_parser("study", help="check, run and report studies").add_subparsers(required=True)
    check = command(study, "check", studies.check_study)
    check.add_argument("studies", type=Path, nargs="+", metavar="STUDY.yaml")
    check.add_argument("--seeds", type=int, help="number of seeds in place of the file's")
    run = command(study, "run", training.run_studies)
    run.add_argument("studies", type=Path, nargs="+", metavar="STUDY.yaml")
    run.add_argument("--seeds", type=int, help="number of seeds in place of the file's")
    run.add_argument("--processes", default="auto", help="auto: one for each GPU, else for each core")
    run.add_argument("--seeds-per-process", default="auto", metavar="N",
        help="seeds trained together by one process; auto: 1 on a CPU, as many as keep all GPUs busy")  # fmt: skip
    add_place(run)
    for name, show in (("status", studies.show_status), ("report", studies.report_studies)):
        command(study, name, show).add_argument("out", type=Path, nargs="?", default=Path("out"), metavar="OUT")
    publish = command(study, "publish", studies.publish_studies)
    publish.add_argument("out", type=Path, metavar="OUT")
    publish.add_argument("--results", type=Path, default=Path("results"), help="folder of published studies")
    publish.add_argument("--readme", type=Path, metavar="FILE",
        help="page whose findings are renewed (default: README.md of that folder)")  # fmt: skip

    wandb = commands.add_parser("wandb", help="mirror records to Weights & Biases").add_subparsers(required=True)
    sync = command(wandb, "sync", tools.sync_wandb)
    sync.add_argument("out", type=Path, metavar="OUT")
    sync.add_argument("--mode", choices=("online", "offline"), help="default: WANDB_MODE if that is one, else online")

    check_gradients = command(commands, "check-gradients", tools.check_gradients)
    check_gradients.add_argument("--out", type=Path, help="folder for gradient_parity.json and gradient_parity.md")
    check_gradients.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")

    command(commands, "verify", tools.verify_folder).add_argument("folder", type=Path, metavar="DIR")

    launch = command(commands, "launch", launch_ranks)
    launch.usage = "gpt launch [-h] [--grace SECONDS] LAUNCH.yaml [-n RANKS] [OPTIONS] train|study ..."
    launch.add_argument("launch", type=Path, metavar="LAUNCH.yaml", help="of launch/; options of accelerate may follow")
    launch.add_argument("-n", type=int, metavar="RANKS", help="--num_processes in place of the file's, of all machines")
    launch.add_argument("--grace", type=float, default=120.0, metavar="SECONDS",
        help="after which ranks that were told to stop are killed (default: 120)")  # fmt: skip

    sample = command(commands, "sample", tools.sample_run)
    sample.add_argument("run", type=Path, metavar="RUN", help="a run's folder, OUT/runs/<fingerprint>")
    sample.add_argument("--prompt", default="\n", help="text that generation starts from")
    sample.add_argument("--characters", type=int, default=300)
    sample.add_argument("--temperature", type=float, default=0.8)
    sample.add_argument("--seed", type=int, default=0)
    return parser


def add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wandb", choices=("online", "offline", "disabled"),
        help="mirror to Weights & Biases (default: WANDB_MODE if set, else disabled)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of runs and studies (default: out)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each process (default: 1)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    parser.add_argument("--ranks-per-run", type=int, metavar="R", help="processes that share a batch; "
        "default: 1 for a study, all for gpt train and with DeepSpeed")  # fmt: skip
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS",
        help="after which a process that does not answer the others of its run is given up (default: 120)")  # fmt: skip


def launch_ranks(options: argparse.Namespace) -> int:
    """Start gpt's own command, train or study, on several ranks by accelerate launch; see them to their end."""
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
    read_arguments(options.launched)  # refused once instead of by every rank
    command = launcher_command(options.launch, options.n, options.overrides, options.launched)
    return supervise(command, options.grace)
