"""The `gpt` command: reads arguments, puts the rooms together, turns their answers into exit codes.

0 done; 1 a layout (`gpt certify`) or a record (`gpt verify`) is wrong, or a launch lost a rank; 2 bad input, one line;
3 some cells failed, named; 75 stopped on request, run again to go on.
Heavy packages are imported by the command that uses them, so that `gpt --help` answers at once.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from gpt.config import RunConfig, SampleConfig, fingerprint, load_run, parse
from gpt.errors import InputError
from gpt.runner.exits import BAD_INPUT, CELLS_FAILED, DONE, STOPPED, WRONG

if TYPE_CHECKING:
    import torch

    from gpt.mirror.places import Destination
    from gpt.runner.launch import Launch
    from gpt.runner.layout import Layout
    from gpt.runner.place import Place
    from gpt.runner.roll import Signed
    from gpt.study.folder import StudyFolder
    from gpt.study.plan import PlannedCell
    from gpt.study.spec import Study

LAUNCHED = ("train", "study")
"""commands that `gpt launch` starts; the first of these words begins one"""
LATER_RANKS_SECONDS = 5
"""time that ranks other than 0 wait before they complain of what rank 0 will most likely have complained of"""


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}", file=sys.stderr)
        raise SystemExit(BAD_INPUT)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    signed = sign_on()
    options = read_arguments(sys.argv[1:] if arguments is None else arguments)
    try:
        code = options.command(options)
    except (InputError, OSError) as error:
        complain(error)
        code = BAD_INPUT
    except KeyboardInterrupt:
        print("gpt: stopped on request; run the same command again to go on", file=sys.stderr)
        code = STOPPED
    if signed:
        code = signed.note(code)
    if signed or "RANK" in os.environ:
        from gpt.runner.row import end_process

        end_process(code)
    raise SystemExit(code)


def sign_on() -> "Signed | None":
    """Where `gpt launch` started this process as a rank, enter it on the launch's roll."""
    if "GPT_ROLL" not in os.environ:
        return None
    from gpt.runner.roll import sign_on

    return sign_on(os.environ)


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command; `overrides` are those that are not its own, `launched` is the command of a launch."""
    words = list(arguments)
    own = len(words)
    if words[:1] == ["launch"]:
        own = next((place for place, word in enumerate(words) if word in LAUNCHED), own)
    parser = build_parser()
    options, overrides = parser.parse_known_args(words[:own])
    if overrides and options.command not in (train, launch_ranks):
        parser.error(f"unknown argument {overrides[0]}")
    options.overrides, options.launched = overrides, words[own:]
    return options


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

    data = command(commands, "data", fetch_data)
    data.add_argument("source", nargs="?", default="tiny_shakespeare", help="corpus name, or a text file to check")

    one = command(commands, "train", train)
    one.add_argument("run", type=Path, metavar="RUN.yaml")
    one.add_argument("--fields", action="store_true", help="show every field, its meaning and this file's value")
    add_place(one)
    one.set_defaults(processes="auto", seeds_per_pack="1")

    study = commands.add_parser("study", help="check, run and report studies").add_subparsers(required=True)
    check = command(study, "check", check_study)
    check.add_argument("studies", type=Path, nargs="+", metavar="STUDY.yaml")
    check.add_argument("--seeds", type=int, help="number of seeds in place of the file's")
    run = command(study, "run", run_studies)
    run.add_argument("studies", type=Path, nargs="+", metavar="STUDY.yaml")
    run.add_argument("--seeds", type=int, help="number of seeds in place of the file's")
    run.add_argument("--processes", default="auto", help="auto: one for each GPU, else for each core")
    run.add_argument("--seeds-per-pack", default="auto", metavar="N",
        help="seeds trained together by one process; auto: 1 on a CPU, as many as keep all GPUs busy")  # fmt: skip
    add_place(run)
    for name, show in (("status", show_status), ("report", report_studies)):
        command(study, name, show).add_argument("out", type=Path, nargs="?", default=Path("out"), metavar="OUT")
    publish = command(study, "publish", publish_studies)
    publish.add_argument("out", type=Path, metavar="OUT")
    publish.add_argument("--results", type=Path, default=Path("results"), help="folder of published studies")
    publish.add_argument("--readme", type=Path, default=Path("README.md"), help="page whose findings are renewed")

    wandb = commands.add_parser("wandb", help="mirror records to Weights & Biases").add_subparsers(required=True)
    sync = command(wandb, "sync", sync_wandb)
    sync.add_argument("out", type=Path, metavar="OUT")
    sync.add_argument("--mode", choices=("online", "offline"), help="default: WANDB_MODE if that is one, else online")

    certify = command(commands, "certify", certify_layouts)
    certify.add_argument("--out", type=Path, help="folder for certificate.json and certificate.md")
    certify.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")

    command(commands, "verify", verify_folder).add_argument("folder", type=Path, metavar="DIR")

    launch = command(commands, "launch", launch_ranks)
    launch.usage = "gpt launch [-h] [--grace SECONDS] LAUNCH.yaml [-n RANKS] [OPTIONS] train|study ..."
    launch.add_argument("launch", type=Path, metavar="LAUNCH.yaml", help="of launch/; options of accelerate may follow")
    launch.add_argument("-n", type=int, metavar="RANKS", help="--num_processes in place of the file's, of all machines")
    launch.add_argument("--grace", type=float, default=120.0, metavar="SECONDS",
        help="after which ranks that were told to stop are killed (default: 120)")  # fmt: skip

    sample = command(commands, "sample", sample_cell)
    sample.add_argument("cell", type=Path, metavar="CELL", help="a cell's folder, OUT/cells/<fingerprint>")
    sample.add_argument("--prompt", default="\n", help="text that generation starts from")
    sample.add_argument("--characters", type=int, default=300)
    sample.add_argument("--temperature", type=float, default=0.8)
    sample.add_argument("--seed", type=int, default=0)
    return parser


def add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wandb", choices=("online", "offline", "disabled"),
        help="mirror to Weights & Biases (default: WANDB_MODE if set, else disabled)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of cells and studies (default: out)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each process (default: 1)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    parser.add_argument("--ranks-per-run", type=int, metavar="R", help="processes that share a batch; "
        "default: 1 for a study, all for gpt train and with DeepSpeed")  # fmt: skip
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS",
        help="after which a process that does not answer the others of its run is given up (default: 120)")  # fmt: skip


def fetch_data(options: argparse.Namespace) -> int:
    """Fetch and verify a corpus, and print where it is."""
    from gpt.data.corpus import fetch

    print(fetch(options.source, cache_folder()))
    return DONE


def train(options: argparse.Namespace) -> int:
    """Train one run; any field can be set as --optim.lr 3e-4."""
    config = load_run(options.run, options.overrides)
    if options.fields:
        return show_fields(options.run, config)
    from gpt.mirror.start import mirrored
    from gpt.runner.inputs import load_data
    from gpt.study.folder import cell_at
    from gpt.study.plan import PlannedCell

    mirror_to = destination(options)
    launch = find_launch()
    data = load_data(config, cache_folder())
    place = make_place(options, launch)
    cell = PlannedCell(options.run.stem, (), config.seed, config, fingerprint(config, data.sha256))
    if launch is None:
        options.processes = str(options.ranks_per_run or 1)
    elif options.ranks_per_run is None:
        options.ranks_per_run = launch.world
    layout = make_layout(options, place, launch, [cell])
    with mirrored(mirror_to([], [cell.fingerprint]), leads(launch)) as mirror:
        code = run_planned([cell], place, launch, layout)
        mirror.hurry = code == STOPPED
    if code == DONE and leads(launch):
        folder = cell_at(options.out, cell.fingerprint)
        status = folder.read_status()
        print(f"{status.state}: {folder.root}" + (f" ({status.why})" if status.why else ""))
    return code


def launch_ranks(options: argparse.Namespace) -> int:
    """Start gpt's own command, train or study, on several ranks by accelerate launch; see them to their end."""
    from gpt.runner.supervise import launcher_command, supervise

    if not options.launch.is_file():
        raise InputError(f"{options.launch}: no such file; LAUNCH.yaml comes first, launch/ has some")
    if options.n is not None and options.n < 1:
        raise InputError(f"-n: got {options.n}, must be at least 1")
    if not options.grace > 0:
        raise InputError(f"--grace: got {options.grace:g}, must be more than 0 seconds")
    if not options.launched:
        raise InputError(f"gpt launch: nothing to start after {options.launch}, must be gpt's own train or study ...")
    read_arguments(options.launched)  # refused once instead of by every rank
    command = launcher_command(options.launch, options.n, options.overrides, options.launched)
    return supervise(command, options.grace)


def show_fields(path: Path, config: RunConfig) -> int:
    import tyro

    tyro.cli(RunConfig, prog=f"gpt train {path}", default=config, args=["--help"])
    return DONE


def check_study(options: argparse.Namespace) -> int:
    """Refuse confounded studies; say what differs, how many cells, what they cost and what they can detect."""
    from gpt.runner.check import describe_study

    for path in options.studies:
        study, cells, _ = open_study(path, options.seeds)
        print(describe_study(study, cells, cache_folder()))
    return DONE


def run_studies(options: argparse.Namespace) -> int:
    """Train every missing cell of the studies, then report; run again, it does only what is missing."""
    from gpt.mirror.start import mirrored
    from gpt.report.build import print_findings
    from gpt.study.folder import StudyFolder, cell_at

    mirror_to = destination(options)
    opened = [open_study(path, options.seeds) for path in options.studies]
    names = [study.name for study, _, _ in opened]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two of the studies are named {name}; each needs a name of its own")
    launch = find_launch()
    place = make_place(options, launch)
    unique = list({cell.fingerprint: cell for _, cells, _ in opened for cell in cells}.values())
    unique.sort(key=lambda cell: cell.seed)
    layout = make_layout(options, place, launch, unique)
    folders = [StudyFolder(place.out, study.name) for study, _, _ in opened]
    if leads(launch):
        for folder, (study, cells, data_sha256) in zip(folders, opened, strict=True):
            folder.start(study, data_sha256, cells)
    missing = sum(not cell_at(place.out, cell.fingerprint).finished for cell in unique)
    with mirrored(mirror_to(names), leads(launch)) as mirror:
        code = run_planned(unique, place, launch, layout)
        mirror.hurry = code == STOPPED
        if code == STOPPED or not leads(launch):
            return code
        if missing == 0 and all(folder.findings.exists() for folder in folders):
            print(f"report: {place.out / 'report.md'}")
            return code
        print_findings(place.out, folders)
    return code


def open_study(path: Path, seeds: int | None) -> "tuple[Study, list[PlannedCell], str]":
    """A checked study, its cells, and the hash of its data."""
    from gpt.runner.inputs import load_data
    from gpt.study.plan import plan
    from gpt.study.spec import load_study

    study = load_study(path, seeds)
    configs = {
        (c.config.data.source, c.config.data.val_fraction, c.config.model.context, c.config.sample.prompt): c.config
        for c in plan(study, "")
    }
    hashes = {load_data(config, cache_folder()).sha256 for config in configs.values()}
    if len(hashes) > 1:
        raise InputError(f"{path}: variants train on different texts; their losses cannot be compared")
    data_sha256 = hashes.pop()
    return study, plan(study, data_sha256), data_sha256


def run_planned(cells: "Sequence[PlannedCell]", place: "Place", launch: "Launch | None", layout: "Layout") -> int:
    """Train what is missing, say what could not be done, and return the exit code."""
    from gpt.runner.run import train_cells
    from gpt.study.plan import describe

    outcome = train_cells(cells, place, launch, layout)
    if not leads(launch):
        return STOPPED if outcome.stopped else DONE
    if outcome.stopped:
        print("stopped on request; run the same command again to go on", file=sys.stderr)
        return STOPPED
    for cell, why in outcome.unfinished:
        print(f"not done: {describe(cell)}, cell {cell.fingerprint}: {why}", file=sys.stderr)
    if outcome.elsewhere:
        print(
            f"left to the commands that are training them: {outcome.elsewhere} of {len(cells)} cells", file=sys.stderr
        )
    return CELLS_FAILED if outcome.unfinished else DONE


def show_status(options: argparse.Namespace) -> int:
    """Say how far each study of a folder is."""
    from gpt.report.build import status_lines

    for folder in started(options.out):
        print("\n".join(status_lines(folder)))
    return DONE


def report_studies(options: argparse.Namespace) -> int:
    """Write the reports of a folder's studies again and print their findings."""
    from gpt.report.build import print_findings

    print_findings(options.out, started(options.out))
    return DONE


def publish_studies(options: argparse.Namespace) -> int:
    """Copy the reports of a folder's finished studies to results/ and renew the findings in the README."""
    from gpt.records.files import read_json
    from gpt.report.build import status_lines
    from gpt.report.readme import publish, update
    from gpt.study.folder import cell_at

    for folder in started(options.out):
        if any(not cell_at(folder.out, c["cell"]).finished for c in read_json(folder.cells_json)["cells"]):
            raise InputError(f"{status_lines(folder)[0]}; only finished studies are published")
        publish(folder, options.results)
        print(options.results / folder.name)
    update(options.readme, options.results)
    return DONE


def started(out: Path) -> "list[StudyFolder]":
    from gpt.study.folder import studies_in

    folders = studies_in(out)
    if not folders:
        raise InputError(f"{out}: holds no study; `gpt study run STUDY.yaml --out {out}` starts one")
    return folders


def destination(options: argparse.Namespace) -> "Callable[..., Destination]":
    """Where in W&B studies and lone cells go, as the command line and the environment ask for."""
    from gpt.mirror.places import Destination, read_mode, read_project

    mode, project = read_mode(options.wandb, os.environ), read_project(os.environ)
    return partial(Destination, options.out, mode, project)


def sync_wandb(options: argparse.Namespace) -> int:
    """Mirror to W&B what has not arrived there: after an outage or a kill, or of runs trained without it."""
    from gpt.mirror.places import everything, read_mode, read_project
    from gpt.mirror.start import sync

    mode = options.mode or read_mode(None, os.environ)
    to = everything(options.out, "online" if mode == "disabled" else mode, read_project(os.environ))
    missing, total = sync(to)
    where = f"; {to.log} says why the others are not" if missing else ""
    print(f"W&B, {to.mode}: {total - missing} of {total} cells and reports are mirrored{where}")
    return CELLS_FAILED if missing else DONE


def certify_layouts(options: argparse.Namespace) -> int:
    """Compare the gradient norms of every engine and layout with one process; exit code 1 where one is wrong."""
    import torch

    from gpt.runner.certify import cases, certify, save, table
    from gpt.runner.stack import describe_stack

    device = find_device(options.device)
    torch.set_num_threads(1)
    places = torch.cuda.device_count() if device.type == "cuda" else sys.maxsize
    fitting = [case for case in cases() if case.ranks <= places]
    if len(fitting) < len(cases()):
        print(f"left out: {len(cases()) - len(fitting)} cases that need more than {places} GPUs", file=sys.stderr)
    certificate = certify(device.type, fitting)
    print(table(certificate))
    if options.out:
        save(certificate, options.out, describe_stack(device))
        print(options.out / "certificate.md")
    return DONE if certificate.holds else WRONG


def verify_folder(options: argparse.Namespace) -> int:
    """Check every checksum and record, and that every planned cell is there; exit code 1 names what is wrong."""
    from gpt.runner.verify import verify

    verdict = verify(options.folder)
    for line in verdict.wrong:
        print(f"wrong: {line}")
    print(f"{options.folder}: {verdict.seen}, {len(verdict.wrong) or 'nothing'} wrong")
    return WRONG if verdict.wrong else DONE


def sample_cell(options: argparse.Namespace) -> int:
    """Write text with a cell's best model."""
    from gpt.records.cell import Cell
    from gpt.train.sampling import sample_text
    from gpt.train.weights import load_model

    wanted = {"prompt": options.prompt, "characters": options.characters, "temperature": options.temperature}
    parse(SampleConfig, wanted, "gpt sample")
    if options.seed < 0:
        raise InputError(f"--seed: got {options.seed}, must not be negative")
    model, tokenizer, context = load_model(Cell(options.cell).model)
    print(sample_text(
        model, tokenizer, context, options.prompt, options.characters, options.temperature, options.seed
    ))  # fmt: skip
    return DONE


def find_launch() -> "Launch | None":
    """This process's place among those that a launcher started, if one did."""
    import torch

    from gpt.runner.launch import parent_command, read_launch

    return read_launch(os.environ, parent_command(), torch.cuda.device_count())


def leads(launch: "Launch | None") -> bool:
    """Whether this process speaks for all."""
    return launch is None or launch.rank == 0


def make_place(options: argparse.Namespace, launch: "Launch | None") -> "Place":
    """Where this command works; the device is known to exist and the folder to be writable."""
    from gpt.runner.place import Place
    from gpt.runner.processes import device_of

    device = find_device("cpu" if launch and launch.cpu else options.device)
    check_writable(options.out)
    if launch is None:
        return Place(options.out, cache_folder(), device)
    return Place(options.out, cache_folder(), device_of(device, launch.local_rank), launch.zero_stage)


def make_layout(
    options: argparse.Namespace, place: "Place", launch: "Launch | None", cells: "Sequence[PlannedCell]"
) -> "Layout":
    """How the cells are spread over processes."""
    from gpt.runner.layout import Wishes, decide

    wishes = Wishes(options.processes, options.ranks_per_run, options.seeds_per_pack, options.threads, options.timeout)
    return decide(wishes, cells, place.device, launch)


def check_writable(out: Path) -> None:
    """Make the output folder, or refuse one that cannot be written to."""
    from gpt.records.files import make_folder

    make_folder(out)
    if not os.access(out, os.W_OK | os.X_OK):
        raise InputError(f"--out: {out} cannot be written to; choose a folder that you may write to")


def find_device(name: str) -> "torch.device":
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device: got {name!r}, must be cpu, cuda or auto")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device: got cuda, but torch finds no CUDA device; use cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def cache_folder() -> Path:
    """The user's cache, or $GPT_CACHE."""
    from gpt.data.corpus import default_cache

    return Path(os.environ["GPT_CACHE"]) if os.environ.get("GPT_CACHE") else default_cache()
