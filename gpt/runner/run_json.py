"""run.json: what a run is, what made it, and how."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gpt.config import RunConfig
from gpt.data.dataset import Dataset
from gpt.errors import InputError
from gpt.fingerprint import as_recorded, fingerprint
from gpt.model.gpt import layer_names
from gpt.model.placement import PLACEMENTS
from gpt.probes.declared import declared_arrays
from gpt.records.files import jsonable, read_json, write_json
from gpt.records.run_folder import RunFolder
from gpt.runner.code_version import this_code
from gpt.runner.stack import describe_hardware, describe_source, describe_stack
from gpt.study.folder import run_at
from gpt.study.plan import PlannedRun
from gpt.train.engines.engine import Engine
from gpt.train.engines.kinds import engine_classes
from gpt.yaml_file import parse


def check_text(planned: PlannedRun, data: Dataset) -> None:
    """Refuse a text that is another than when the run was planned.

    Raises:
        InputError: it is.
    """
    if fingerprint(planned.config, data.sha256) != planned.fingerprint:
        texts = " or ".join(planned.config.data.texts)
        raise InputError(f"data.source: {texts} has changed since the command was started")


def describe_run(planned: PlannedRun, run: RunFolder, data: Dataset, engine: Engine) -> None:
    """Write run.json, or check it against what is here now.

    Raises:
        InputError: names what differs; see `check_stack`.
    """
    config = planned.config
    info: dict[str, Any] = {
        "fingerprint": planned.fingerprint,
        "seed": planned.seed,
        "config": config.model_dump(mode="json"),
        "data": {
            "sha256": data.sha256,
            "vocabulary": data.tokenizer.vocabulary_size,
            "train_characters": len(data.train),
            "val_characters": len(data.val),
            **({"test_characters": len(data.test)} if config.data.has_test else {}),
            **data.baselines,
        },
        "layers": layer_names(config.model),
        "normalises_stream": not PLACEMENTS[config.model.norm_placement].final_norm,
        "parameters": engine.parameter_count,
        "training_flops_per_token": engine.training_flops_per_token,
        "probe_text": data.tokenizer.decode(data.val[: min(config.probes.heatmap_characters, config.model.context)]),
    }
    stack = describe_stack(engine.device)
    if not run.run_json.exists():
        made_by = {"code": this_code().parts(config), "stack": stack, "source": describe_source()}
        arrays = declared_arrays(config)
        hardware = describe_hardware(engine.device)
        write_json(run.run_json, {**info, **made_by, "hardware": hardware, "arrays": arrays})
        return
    check_stack(run, config, stack)
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
        config = parse(RunConfig, as_recorded(info["config"]), str(run.run_json))
        return fingerprint(config, info["data"]["sha256"])
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{run.run_json}: corrupt, must hold the configuration and the data's hash") from None


def check_stack(run: RunFolder, config: RunConfig, stack: dict[str, Any]) -> None:
    """Refuse to resume, or to compare, what other code or another machine made.

    Raises:
        InputError: names what differs.
    """
    made_by, code = _made_by(run)
    now_known = this_code().parts(config)
    for engine in engine_classes():
        now_known |= this_code().engine_part(engine)
    made_by |= {f"code of {part}": version for part, version in code.items()}
    here = {**stack, **{f"code of {part}": now_known.get(part) for part in code}}
    for key in {**here, **made_by}:
        if made_by.get(key) != (now := here.get(key)):
            raise InputError(
                f"{run.run_json}: made with {key} = {made_by.get(key)!r}, now it is {now!r}; "
                "results of the two are not merged: use another --out, or remove the run"
            )


def check_stacks(runs: Iterable[PlannedRun], out: Path, stack: dict[str, Any]) -> None:
    """Refuse, before anything is trained, runs that another stack has begun; of corrupt ones nothing is said yet.

    Raises:
        InputError: names what differs.
    """
    for planned in runs:
        run = run_at(out, planned.fingerprint)
        if run.run_json.exists():
            try:
                _made_by(run)
            except InputError:  # ends that run alone, when its turn comes
                continue
            check_stack(run, planned.config, stack)


def _made_by(run: RunFolder) -> tuple[dict[str, Any], dict[str, str]]:
    """The stack and the versions of the code that made a run."""
    info = read_json(run.run_json)
    stack, code = (info.get(key) if isinstance(info, dict) else None for key in ("stack", "code"))
    if not isinstance(stack, dict) or not isinstance(code, dict):
        raise InputError(f"{run.run_json}: corrupt, must say which code and stack made the run; move its folder away")
    return stack, code


def note_layout(run: RunFolder, engine: Engine, start: int) -> None:
    """Add how this attempt is computed to run.json, where that is another way than before: it gives other roundings."""
    info = read_json(run.run_json)
    layout = {
        "from_step": max(start, 0),
        "engine": engine.name,
        "ranks": engine.ranks.size,
        "micro_batches": len(engine.micro_batches) * engine.ranks.size,
        "seeds_together": len(engine.seeds),
    }
    before, code = info.get("layouts", []), {**info["code"], **this_code().engine_part(type(engine))}
    if not before or before[-1] | {"from_step": layout["from_step"]} != layout or info["code"] != code:
        write_json(run.run_json, {**info, "code": code, "layouts": [*before, layout]})
