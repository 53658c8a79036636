"""Commands around the training: data, parity, verification, samples, the way to W&B."""

import argparse
import os
import sys
from dataclasses import asdict

from gpt.commands.output import show
from gpt.commands.workspace import cache_folder, check_writable, find_device
from gpt.config import SampleConfig, Seed
from gpt.errors import InputError
from gpt.plugins import load_plugin
from gpt.runner.launch.exit_codes import DONE, RUNS_FAILED, WRONG
from gpt.yaml_file import parse


def fetch_data(options: argparse.Namespace) -> int:
    """Fetch and verify a corpus, and print where it is."""
    from gpt.data.corpus import fetch

    for file in options.plugin:
        load_plugin(file)
    show(fetch(options.source, cache_folder()), options.json)
    return DONE


STEP_MODES: dict[str, list[str]] = {"cpu": [], "cuda": ["compiled", "graph"]}
"""ways of computing steps that are checked unless others are named; on a CPU each case takes a minute to compile"""


def check_gradients(options: argparse.Namespace) -> int:
    """Compare the gradient norms of every engine and layout with one process; exit code 1 where one is wrong."""
    import torch

    from gpt.runner.checks.gradient_parity import check_parity
    from gpt.runner.checks.parity_cases import cases
    from gpt.runner.checks.parity_page import save, table
    from gpt.runner.checks.step_cases import step_cases
    from gpt.runner.stack import describe_stack

    device = find_device(options.device)
    if options.out:
        check_writable(options.out)
    torch.set_num_threads(1)
    places = torch.cuda.device_count() if device.type == "cuda" else sys.maxsize
    fitting = [case for case in cases() if case.ranks <= places]
    if len(fitting) < len(cases()):
        print(f"left out: {len(cases()) - len(fitting)} cases that need more than {places} GPUs", file=sys.stderr)
    modes = STEP_MODES[device.type] if options.modes is None else options.modes.split(",")
    if not set(modes) <= {*STEP_MODES[device.type], "compiled"}:
        raise InputError(f"--modes: got {options.modes}, must be compiled, on a GPU also graph or compiled,graph")
    fitting += step_cases(modes, device.type)
    parity = check_parity(device.type, fitting)
    show({"holds": parity.holds, **asdict(parity)}, options.json, table(parity))
    if options.out:
        save(parity, options.out, describe_stack(device))
        print(options.out / "gradient_parity.md", file=sys.stderr if options.json else sys.stdout)
    return DONE if parity.holds else WRONG


def verify_folder(options: argparse.Namespace) -> int:
    """Check every checksum and record, and that every planned run is there; exit code 1 names what is wrong."""
    from gpt.runner.checks.verify import verify

    verdict = verify(options.folder)
    show(verdict, options.json)
    return WRONG if verdict.wrong else DONE


class SampleOptions(SampleConfig):
    """What `gpt sample` is asked for, under the rules of a run's fields."""

    seed: Seed


def sample_run(options: argparse.Namespace) -> int:
    """Write text with a run's best model."""
    import torch

    from gpt.records.run_folder import RunFolder
    from gpt.train.sampling import sample_text
    from gpt.train.saved_model import load_model

    wanted = {name: getattr(options, name) for name in SampleOptions.model_fields}
    parse(SampleOptions, wanted, "gpt sample")
    for file in options.plugin:
        load_plugin(file)
    torch.set_num_threads(1)  # small products, which more threads only slow down
    model, tokenizer, context = load_model(RunFolder(options.run).model)
    text = sample_text(model, tokenizer, context, options.prompt, options.characters, options.temperature, options.seed)
    show({"run": options.run.name, **wanted, "text": text}, options.json, text)
    return DONE


def sync_wandb(options: argparse.Namespace) -> int:
    """Send to W&B what has not arrived there: after an outage or a kill, or of runs trained without it."""
    from gpt.wandb_sync.start import sync
    from gpt.wandb_sync.targets import everything, read_mode, read_project

    mode = options.mode or read_mode(None, os.environ)
    to = everything(options.out, "online" if mode == "disabled" else mode, read_project(os.environ))
    missing, total = sync(to)
    where = f"; {to.log} says why the others are not" if missing else ""
    print(f"W&B, {to.mode}: {total - missing} of {total} runs and reports are synced{where}")
    return RUNS_FAILED if missing else DONE
