"""The gradient-norm parity: the same few steps computed in every layout, compared with one process.

A wrong average, a sum over shards taken twice, a clip limit that an engine fills in by itself: mistakes of distributed
training change gradient norms by percents and stop no run. Here every engine has to give the norms of a single process,
layer by layer and seed by seed, or the command fails.

Shapes of arrays: [seed][step][layer] for layer norms, [seed][step][micro-batch] for micro-batches, else [seed][step].
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpt.config import RunConfig, with_values
from gpt.errors import InputError
from gpt.runner.checks.parity_cases import RANK_INVARIANT_SUM, REFERENCE, SPLIT, Case
from gpt.runner.launch.supervise import without_launchers
from gpt.train.engines.kinds import DEFAULT, EngineKind, engine_kinds
from gpt.yaml_file import parse

TIMED: dict[str, Any] = {
    "model": {"layers": 3, "heads": 4, "width": 64, "context": 64, "position": "rope", "norm_placement": "pre"},
    "optim": {"lr": 1e-3, "warmup_steps": 0},
    "train": {"steps": 50, "batch_size": 16, "eval_every": 50},
}
LONGEST_LAUNCH = 1800
"""seconds"""


@dataclass(frozen=True)
class Line:
    """A case's largest relative errors over all steps and seeds."""

    case: str
    engine: str
    ranks: int
    micro_batches: int
    layer_norm: float
    worst_layer: int
    loss: float
    clip_scale: float
    evaluation: float
    """of the loss of each window after the last step"""
    micro_batch_norm: float | None
    """None where there is no single process with the same micro-batches to compare with"""
    bound: float
    fallbacks: int = 0
    """times that the engine gave up its own way of computing steps"""

    @property
    def holds(self) -> bool:
        """Whether no error is above the bound (a number that is not finite is), in the way that was asked for."""
        if self.fallbacks:
            return False
        errors = [self.layer_norm, self.loss, self.clip_scale, self.evaluation, self.micro_batch_norm or 0.0]
        return all(error <= self.bound for error in errors)


@dataclass(frozen=True)
class GradientParity:
    lines: list[Line]
    rank_invariant_cost: list[float]
    """quartiles of the time of a step with rank-invariant reduction over that of a DDP step with the same
    micro-batches, two ranks; empty where no case has two ranks"""

    @property
    def holds(self) -> bool:
        return all(line.holds for line in self.lines)


def check_parity(device: str, planned: Sequence[Case]) -> GradientParity:
    """Compute cases, by real launches of `accelerate launch`, and compare.

    Args:
        device: `cpu` or `cuda`; then cases with more ranks than GPUs cannot run.
        planned: with each case, the one of a single process that it is compared with.

    Raises:
        InputError: a launch failed; its last lines are in the message.
    """
    results: dict[str, Any] = {}
    for launch in dict.fromkeys(case.launch for case in planned):
        asked = {case.name: case.asked for case in planned if case.launch == launch}
        if launch == (2, DEFAULT):
            asked["cost"] = _timed()
        results |= _compute(*launch, asked, device)
        print(f"{len(results)} cases computed", file=sys.stderr, flush=True)
    lines = [compare(case, results) for case in planned]
    cost = np.quantile(results["cost"], [0.25, 0.5, 0.75]).tolist() if "cost" in results else []
    return GradientParity(lines, cost)


def _timed() -> dict[str, Any]:
    base = with_values(parse(RunConfig, TIMED, "gradient parity"), {"train.micro_batch_size": 4}, "gradient parity")
    ordered = with_values(base, RANK_INVARIANT_SUM, "gradient parity")
    return {"config": ordered.model_dump(mode="json"), "rival": base.model_dump(mode="json")}


def _compute(ranks: int, engine: str, asked: dict[str, Any], device: str) -> dict[str, Any]:
    """What the cases of one launch measured."""
    kind = engine_kinds()[engine]
    with tempfile.TemporaryDirectory() as folder:
        cases, answers, launch = (Path(folder) / name for name in ("cases.json", "answers.json", "launch.yaml"))
        cases.write_text(json.dumps(asked))
        start = [sys.executable]
        if ranks > 1:
            launch.write_text(json.dumps(_launch_file(ranks, kind, device)))  # JSON is YAML
            start += ["-m", "accelerate.commands.launch", "--config_file", str(launch)]
        command = [*start, "-m", "gpt.runner.checks.gradient_parity_rank", str(cases), str(answers)]
        hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
        what = f"gpt check-gradients: a launch of {ranks} ranks, {kind.title},"
        try:
            ended = subprocess.run(
                command,
                env={**without_launchers(os.environ), **hidden},
                capture_output=True,
                text=True,
                timeout=LONGEST_LAUNCH,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InputError(f"{what} did not end within {LONGEST_LAUNCH} s") from None
        if ended.returncode or not answers.exists():
            errors = [line for line in ended.stderr.splitlines() if "Error: " in line or line.startswith("gpt: ")]
            raise InputError(f"{what} failed: {errors[0] if errors else ended.stderr.strip()[-300:]}")
        return json.loads(answers.read_text())


def _launch_file(ranks: int, kind: EngineKind, device: str) -> dict[str, Any]:
    """An accelerate configuration with every field that a user's own could slip in."""
    return {
        "compute_environment": "LOCAL_MACHINE", "mixed_precision": "no", "dynamo_backend": "NO", "num_machines": 1,
        "num_processes": ranks, "machine_rank": 0, "main_process_port": 0, "rdzv_backend": "static",
        "same_network": True, "gpu_ids": "all", "enable_cpu_affinity": False, "debug": False,
        "distributed_type": kind.distributed_type, "use_cpu": device == "cpu" and kind.may_use_cpu, **kind.fields,
    }  # fmt: skip


def compare(case: Case, results: Mapping[str, Any]) -> Line:
    """A case's answers against those of its reference, both by name in `results`."""
    mine, reference = results[case.name], results[case.against]
    per_layer = _errors(mine["layer_norm"], reference["layer_norm"]).max(axis=(0, 1))
    norms, error = mine["micro_batch_norm"], None
    if norms:
        split = reference if np.shape(norms) == np.shape(reference["micro_batch_norm"]) else None
        if split is None and case.against == REFERENCE:
            split = results[SPLIT[len(norms[0][0])]]
        error = float(_errors(norms, split["micro_batch_norm"]).max()) if split else None
    return Line(
        case.name,
        mine["engine"],
        mine["ranks"],
        mine["micro_batches"],
        float(per_layer.max()),
        int(per_layer.argmax()),
        float(_errors(mine["loss"], reference["loss"]).max()),
        float(_errors(mine["clip_scale"], reference["clip_scale"]).max()),
        float(_errors(mine["evaluation"], reference["evaluation"]).max()),
        error,
        case.bound,
        mine["fallbacks"],
    )


def _errors(mine: Any, reference: Any) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Relative errors; what is not a number counts as infinitely wrong."""
    ours, theirs = np.asarray(mine, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return np.nan_to_num(np.abs(ours - theirs) / np.abs(theirs), nan=np.inf)
