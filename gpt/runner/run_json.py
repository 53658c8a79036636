"""run.json: what a run is, what made it, and how."""

from collections.abc import Iterable
from typing import Any

from gpt.config import RunConfig, fingerprint
from gpt.data.dataset import Dataset
from gpt.errors import InputError
from gpt.model.flops import parameter_count, training_flops_per_token
from gpt.model.gpt import layer_names
from gpt.records.files import jsonable, read_json, write_json
from gpt.records.run_folder import RunFolder
from gpt.runner.stack import describe_hardware, describe_stack
from gpt.runner.workspace import Workspace
from gpt.study.folder import run_at
from gpt.study.plan import PlannedRun
from gpt.yaml_file import parse


def describe_run(planned: PlannedRun, data: Dataset, workspace: Workspace) -> None:
    """Write run.json, or hold it against what is here now.

    Raises:
        InputError: names what differs; see `check_stack`.
    """
    run = run_at(workspace.out, planned.fingerprint)
    config, vocabulary = planned.config, data.tokenizer.vocabulary_size
    info: dict[str, Any] = {
        "fingerprint": planned.fingerprint,
        "seed": planned.seed,
        "config": config.model_dump(mode="json"),
        "data": {
            "sha256": data.sha256,
            "vocabulary": vocabulary,
            "train_characters": len(data.train),
            "val_characters": len(data.val),
            "unigram_loss": data.unigram_loss,
        },
        "layers": layer_names(config.model),
        "parameters": parameter_count(config.model, vocabulary),
        "training_flops_per_token": training_flops_per_token(config.model, vocabulary),
        "probe_text": data.tokenizer.decode(data.val[: min(config.probes.heatmap_characters, config.model.context)]),
    }
    made_by = {"stack": describe_stack(workspace.device), "hardware": describe_hardware(workspace.device)}
    if not run.run_json.exists():
        write_json(run.run_json, {**info, **made_by})
        return
    check_stack(run, made_by["stack"])
    there = read_json(run.run_json)
    # fields without effect on a number may differ, so that of the configuration the fingerprint is compared
    same = {key: there.get(key) == value for key, value in jsonable(info).items()}
    same["config"] = made_from(run) == planned.fingerprint
    for key in [key for key, is_same in same.items() if not is_same]:
        raise InputError(f"{run.run_json}: corrupt, holds another {key} than this run's; move the run's folder away")


def made_from(run: RunFolder) -> str:
    """The fingerprint of the run that run.json describes.

    Raises:
        InputError: the file is corrupt.
    """
    info = read_json(run.run_json)
    try:
        return fingerprint(parse(RunConfig, info["config"], str(run.run_json)), info["data"]["sha256"])
    except (KeyError, TypeError):
        raise InputError(f"{run.run_json}: corrupt, must hold the configuration and the data's hash") from None


def check_stack(run: RunFolder, stack: dict[str, Any]) -> None:
    """Refuse to go on with, or to compare, what other code or another machine made.

    Raises:
        InputError: names what differs.
    """
    made_by = _made_by(run)
    for key, now in stack.items():
        if made_by.get(key) != now:
            raise InputError(
                f"{run.run_json}: made with {key} = {made_by.get(key)!r}, now it is {now!r}; "
                "results of the two are not merged: use another --out, or remove the run"
            )


def check_stacks(runs: Iterable[RunFolder], stack: dict[str, Any]) -> None:
    """Refuse, before anything is trained, runs that another stack has begun; of corrupt ones nothing is said yet.

    Raises:
        InputError: names what differs.
    """
    for run in runs:
        if run.run_json.exists():
            try:
                _made_by(run)
            except InputError:  # ends that run alone, when its turn comes
                continue
            check_stack(run, stack)


def _made_by(run: RunFolder) -> dict[str, Any]:
    info = read_json(run.run_json)
    made_by = info.get("stack") if isinstance(info, dict) else None
    if not isinstance(made_by, dict):
        raise InputError(f"{run.run_json}: corrupt, must say which stack made the run; move the run's folder away")
    return made_by


def note_layout(run: RunFolder, layout: dict[str, Any]) -> None:
    """Add the attempt's layout to run.json where it is another than before."""
    info = read_json(run.run_json)
    before = info.get("layouts", [])
    if not before or before[-1] | {"from_step": layout["from_step"]} != layout:
        write_json(run.run_json, {**info, "layouts": [*before, layout]})
