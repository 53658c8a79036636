"""The command line of `gpt`: its commands, their arguments, and how they are read."""

import argparse
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import gpt
from gpt.commands import bench, launching, studies, tools, training
from gpt.commands.output import say
from gpt.errors import RENAMED, InputError
from gpt.runner.launch.exit_codes import BAD_INPUT, DONE

PACKAGES = ("torch", "accelerate", "deepspeed", "wandb")
EXIT_CODES = """exit codes: 0 done; 1 a gradient norm, a record or a loss is wrong, or a launch lost a rank; 2 bad input
(one line); 3 some runs failed (named); 75 stopped on request (run again to resume); 141 the reader closed the output"""


def whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, must be a whole number") from None


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, must be a number") from None


@dataclass(frozen=True)
class Argument:
    """One argument of a command, as argparse takes it."""

    name: str
    options: Mapping[str, Any]


def argument(name: str, meaning: str | None = None, **options: Any) -> Argument:
    return Argument(name, {"help": meaning, **options})


JSON = argument("--json", "answer in JSON", action="store_true")
PLUGIN = argument("--plugin", "a file of variants to load", type=Path, action="append", default=[], metavar="FILE")
DEVICE = argument("--device", "cpu, cuda or auto (default)", default="auto")
PUBLISHED_OUT = argument("out", "folder of runs and studies", type=Path, metavar="OUT")
OUT = argument("out", "folder of runs and studies (default: out)", type=Path, nargs="?", default=Path("out"),
    metavar="OUT")  # fmt: skip
STUDIES = (
    argument("studies", type=Path, nargs="+", metavar="STUDY.yaml"),
    argument("--seeds", "number of seeds in place of the file's", type=whole),
)
WHERE = (
    argument("--wandb", "sync with Weights & Biases (default: WANDB_MODE if set, else disabled)",
        choices=("online", "offline", "disabled")),
    argument("--out", "folder of runs and studies (default: out)", type=Path, default=Path("out")),
    argument("--threads", "CPU threads of each process (default: 1)", type=whole, default=1),
    DEVICE,
    argument("--ranks-per-run", "processes that share a batch; default: 1 for a study, all for gpt train, with "
        "DeepSpeed and with FSDP2", type=whole, metavar="R"),
    argument("--timeout", "after which a process that does not answer the others of its run is given up (default: 120)",
        type=number, default=120.0, metavar="SECONDS"),
)  # fmt: skip


@dataclass(frozen=True)
class Command:
    name: str
    run: Callable[[argparse.Namespace], int]
    meaning: str
    arguments: Sequence[Argument]


COMMANDS = (
    Command("data", tools.fetch_data, "fetch and check a corpus, and print where it is", [
        argument("source", "corpus name, or a text file to check", nargs="?", default="tiny_shakespeare"),
        PLUGIN,
        JSON,
    ]),
    Command("train", training.train, "train one run; any field can be set as --optim.lr 3e-4", [
        argument("run", type=Path, metavar="RUN.yaml"),
        argument("--fields", "show every field, its meaning and this file's value", action="store_true"),
        *WHERE,
    ]),
    Command("study check", studies.check_study,
        "refuse confounded studies; say what differs, how many runs, what they cost and what they can detect",
        [*STUDIES, JSON]),
    Command("study run", training.run_studies,
        "train every missing run of the studies, then report; run again, it does only what is missing", [
        *STUDIES,
        argument("--processes", "auto: one for each GPU, else for each core", default="auto"),
        argument("--seeds-per-process", "seeds trained together by one process; auto: 1 on a CPU, as many as keep all "
            "GPUs busy", default="auto", metavar="N"),
        *WHERE,
        JSON,
    ]),
    Command("study status", studies.show_status, "say how far each study of a folder is", [OUT, JSON]),
    Command("study power", studies.show_power,
        "from a pilot, say how many pairs of seeds find a difference with a power of 80 and 90 %",
        [OUT, argument("--study", "the one of the folder's studies (default: all)", metavar="NAME"), JSON]),
    Command("study report", studies.report_studies,
        "write the reports of a folder's studies again and print their findings", [OUT, JSON]),
    Command("study publish", studies.publish_studies,
        "copy the reports of a folder's finished studies to results/ and renew the findings on its page", [
        PUBLISHED_OUT,
        argument("--results", "folder of published studies", type=Path, default=Path("results")),
        argument("--readme", "page whose findings are renewed (default: README.md of that folder)", type=Path,
            metavar="FILE"),
    ]),
    Command("wandb sync", tools.sync_wandb,
        "send to W&B what has not arrived there: after an outage or a kill, or of runs trained without it", [
        PUBLISHED_OUT,
        argument("--mode", "default: WANDB_MODE if that is one, else online", choices=("online", "offline")),
    ]),
    Command("check-gradients", tools.check_gradients,
        "compare the gradient norms of every engine and layout with one process", [
        argument("--out", "folder for gradient_parity.json and gradient_parity.md", type=Path),
        argument("--modes", "ways of computing a step to check besides: compiled, graph (default: both on a GPU)",
            metavar="MODE[,MODE]"),
        DEVICE,
        JSON,
    ]),
    Command("bench", bench.run,
        "measure what a run costs on this machine: steps, seeds together, everything besides; any field can be set", [
        argument("run", type=Path, metavar="RUN.yaml"),
        argument("--against", "a checkout of nanoGPT, whose own training loop is timed in turns with ours", type=Path,
            metavar="NANOGPT"),
        argument("--seeds", "most seeds trained together, by powers of two (default: 4 on a CPU, 256 on a GPU)",
            type=whole, metavar="N"),
        argument("--threads", "CPU threads (default: 1)", type=whole, default=1),
        argument("--ranks", "most ranks that share a batch, by powers of two; 1 for none (default: 2 to 4, as many as "
            "there are cores, on a GPU as many as there are)", type=whole, metavar="N"),
        argument("--modes", "ways of computing a step: eager, compiled, graph (default: eager on a CPU, all on a GPU)",
            metavar="MODE[,MODE]"),
        argument("--quick", "a few samples of each: to see that it works, not how fast it is", action="store_true"),
        DEVICE,
        JSON,
    ]),
    Command("verify", tools.verify_folder,
        "check every checksum and record, and that every planned run is there", [
        argument("folder", type=Path, metavar="DIR"),
        JSON,
    ]),
    Command("launch", launching.launch_ranks,
        "start gpt train or gpt study run on several ranks by accelerate launch; see them to their end", [
        argument("launch", "of launch/; options of accelerate may follow", type=Path, metavar="LAUNCH.yaml"),
        argument("-n", "--num_processes in place of the file's, of all machines", type=whole, metavar="RANKS"),
        argument("--grace", "after which ranks that were told to stop are killed (default: 120)", type=number,
            default=120.0, metavar="SECONDS"),
    ]),
    Command("sample", tools.sample_run, "write text with a run's best model", [
        argument("run", "a run's folder, OUT/runs/<fingerprint>", type=Path, metavar="RUN"),
        argument("--prompt", "text that generation starts from", default="\n"),
        argument("--characters", type=whole, default=300),
        argument("--temperature", type=number, default=0.8),
        argument("--seed", type=whole, default=0),
        PLUGIN,
        JSON,
    ]),
)  # fmt: skip
GROUPS = {"study": "check, run and report studies", "wandb": "sync records with Weights & Biases"}
USAGES = {"launch": "gpt launch [-h] [--grace SECONDS] LAUNCH.yaml [-n RANKS] [OPTIONS] train|study ..."}
TRAINING = (training.train, training.run_studies)


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        say(f"{self.prog}: {message}")
        raise SystemExit(BAD_INPUT)


class ShowVersions(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(f"gpt {gpt.__version__}\npython {platform.python_version()}")
        for name in PACKAGES:
            print(name, version(name))
        raise SystemExit(DONE)


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="gpt", description="Controlled multi-seed studies of a GPT's design choices.",
        epilog=EXIT_CODES)  # fmt: skip
    parser.add_argument("--version", action=ShowVersions, nargs=0, help="show the versions of gpt and what it rests on")
    of = {"": parser.add_subparsers(required=True, metavar="COMMAND")}
    for command in COMMANDS:
        group, _, name = command.name.rpartition(" ")
        if group not in of:
            of[group] = of[""].add_parser(group, help=GROUPS[group]).add_subparsers(required=True)
        added = of[group].add_parser(
            name, help=command.meaning, description=command.meaning, allow_abbrev=False, usage=USAGES.get(name)
        )
        added.set_defaults(command=command.run)
        for each in command.arguments:
            added.add_argument(each.name, **each.options)
    return parser


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command; `overrides` are fields of a run or options of accelerate, `launched` the command of a
    launch.
    """
    words = list(arguments)
    for word in [*words[:1], *(word.partition("=")[0] for word in words if word.startswith("--"))]:
        if word in RENAMED:
            raise InputError(f"{word} was renamed; write {RENAMED[word]} instead")
    own = words
    overrides: list[str] = []
    launched: list[str] = []
    if words[:1] == ["launch"]:
        own, launched = launching.split(words)
    elif words[:1] in (["train"], ["bench"]):
        own, overrides = training.split(words)
    parser = build_parser()
    options, unknown = parser.parse_known_args(own)
    if unknown and options.command not in (training.train, launching.launch_ranks):
        parser.error(f"unknown argument {unknown[0]}")
    options.overrides, options.launched = [*overrides, *unknown], launched
    if launched:
        read_arguments(launched)  # refused once instead of by every rank
    return options
