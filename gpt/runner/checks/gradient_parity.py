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
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from gpt.config import RunConfig, with_values
from gpt.errors import InputError
from gpt.records.files import make_folder, write_atomic, write_json
from gpt.records.manifest import write_manifest
from gpt.runner.launch.supervise import without_launchers
from gpt.train.engines.kinds import DEFAULT, EngineKind, Parity, engine_kinds
from gpt.yaml_file import parse

BOUND = 1e-5
"""largest relative error against a single process"""
BF16_BOUND = 5e-3
"""the same in bf16, where a difference in the last bit of fp32 can move a product by a whole bit of its 8"""
BF16_SPLIT_BOUND = 3e-2
"""the same in bf16 against other micro-batches: the weight gradient of each is rounded to 8 bits"""

SMALL: dict[str, Any] = {
    "model": {"layers": 2, "heads": 3, "width": 33, "context": 32, "position": "learned", "norm_placement": "pre",
              "bias": True, "dropout": 0.1, "init": "xavier"},
    "optim": {"lr": 1e-2, "warmup_steps": 2, "clip": 0.5},
    "train": {"steps": 6, "batch_size": 8, "eval_every": 6, "eval_batch_size": 4},
}  # fmt: skip
"""a run with much that could go wrong: tied embeddings, biases, dropout, another learning rate at each step, odd
numbers of weights and of evaluation chunks, norms above the clip limit and above 1 (DeepSpeed's own limit)"""
TIMED: dict[str, Any] = {
    "model": {"layers": 3, "heads": 4, "width": 64, "context": 64, "position": "rope", "norm_placement": "pre"},
    "optim": {"lr": 1e-3, "warmup_steps": 0},
    "train": {"steps": 50, "batch_size": 16, "eval_every": 50},
}
LONGEST_LAUNCH = 900
"""seconds"""
SEPARATE = [[0], [1]]
TOGETHER = [[0, 1]]


@dataclass(frozen=True)
class Case:
    """One layout, and the case of a single process that it is compared with."""

    name: str
    ranks: int
    against: str
    engine: str = DEFAULT
    """a key of `engine_kinds`"""
    seed_batches: Sequence[Sequence[int]] = tuple(map(tuple, SEPARATE))
    micro_batch: int | None = None
    values: Mapping[str, Any] | None = None
    """fields that differ from `SMALL`"""
    bound: float = BOUND

    @property
    def launch(self) -> tuple[int, str]:
        """Cases with the same launch are computed by the same processes."""
        return self.ranks, self.engine

    @property
    def asked(self) -> dict[str, Any]:
        """What the ranks are told."""
        values = {"train.micro_batch_size": self.micro_batch, **(self.values or {})}
        config = with_values(parse(RunConfig, SMALL, "gradient parity"), values, self.name)
        count = config.train.batch_size // (self.micro_batch or config.train.batch_size // self.ranks)
        config = with_values(config, {"probes.noise_scale": count > 1}, self.name)
        return {
            "config": config.model_dump(mode="json"),
            "seed batches": [list(seed_batch) for seed_batch in self.seed_batches],
        }


SPLIT = {2: "2 micro-batches", 4: "4 micro-batches"}
SPLIT_BF16 = {count: f"{name}, bf16" for count, name in SPLIT.items()}
"""cases of a single process whose micro-batches are those of 2 ranks and of 4"""
REFERENCE, BF16, UNCLIPPED, RANK_INVARIANT = (
    "single process",
    "single process, bf16",
    "single process, no clipping",
    "rank-invariant, 1 rank",
)
_BF16 = {"train.precision": "bf16"}
_UNCLIPPED = {"optim.clip": None}
_RANK_INVARIANT = {"train.reduction": "rank_invariant"}


def cases() -> list[Case]:
    """Every case, references first."""
    found = [
        Case(REFERENCE, 1, REFERENCE),
        Case(BF16, 1, BF16, values=_BF16),
        Case(UNCLIPPED, 1, UNCLIPPED, values=_UNCLIPPED),
        Case("2 seeds together", 1, REFERENCE, seed_batches=TOGETHER),
        Case(SPLIT[2], 1, REFERENCE, micro_batch=4),
        Case(SPLIT[4], 1, REFERENCE, micro_batch=2),
        Case("2 seeds together, bf16", 1, BF16, seed_batches=TOGETHER, values=_BF16, bound=BF16_BOUND),
        Case(SPLIT_BF16[2], 1, BF16, micro_batch=4, values=_BF16, bound=BF16_SPLIT_BOUND),
        Case(SPLIT_BF16[4], 1, BF16, micro_batch=2, values=_BF16, bound=BF16_SPLIT_BOUND),
        Case(RANK_INVARIANT, 1, REFERENCE, micro_batch=2, values=_RANK_INVARIANT),
        Case("rank-invariant, 2 ranks", 2, RANK_INVARIANT, micro_batch=2, values=_RANK_INVARIANT, bound=0.0),
        Case("rank-invariant, 4 ranks", 4, RANK_INVARIANT, micro_batch=2, values=_RANK_INVARIANT, bound=0.0),
    ]
    for kind in engine_kinds().values():
        for parity in kind.parity:
            found += _cases_of(kind, parity)
    return found


def _cases_of(kind: EngineKind, parity: Parity) -> list[Case]:
    name, ranks = f"{kind.title}, {parity.ranks} ranks", parity.ranks
    found = [Case(name, ranks, REFERENCE, kind.name)]
    if parity.thorough:
        split = SPLIT_BF16[ranks]
        found += [
            Case(f"{name}, 2 seeds together", ranks, REFERENCE, kind.name, seed_batches=TOGETHER),
            Case(f"{name}, no clipping", ranks, UNCLIPPED, kind.name, values=_UNCLIPPED),
            Case(f"{name}, bf16", ranks, split, kind.name, values=_BF16, bound=BF16_BOUND),
        ]
    if parity.thorough and ranks == 2:
        found.append(Case(f"{name}, 2 micro-batches each", ranks, REFERENCE, kind.name, micro_batch=2))
    return found


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

    @property
    def holds(self) -> bool:
        """Whether no error is above the bound (a number that is not finite is)."""
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
    ordered = with_values(base, _RANK_INVARIANT, "gradient parity")
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
            said = [line for line in ended.stderr.splitlines() if "Error: " in line or line.startswith("gpt: ")]
            last = said[0] if said else ended.stderr.strip()[-300:]
            raise InputError(f"{what} failed: {last}")
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
    )


def _errors(mine: Any, reference: Any) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Relative errors; what is not a number counts as infinitely wrong."""
    ours, theirs = np.asarray(mine, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return np.nan_to_num(np.abs(ours - theirs) / np.abs(theirs), nan=np.inf)


def table(parity: GradientParity) -> str:
    """The parity as a Markdown table."""
    lines = [
        "| case | engine | ranks | micro-batches | layer norms | loss | clip factor | evaluation | micro-batch norms "
        "| bound | |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for line in parity.lines:
        norms = "-" if line.micro_batch_norm is None else _short(line.micro_batch_norm)
        errors = " | ".join(map(_short, (line.layer_norm, line.loss, line.clip_scale, line.evaluation)))
        lines.append(
            f"| {line.case} | {line.engine} | {line.ranks} | {line.micro_batches} | {errors} | {norms} "
            f"| {_short(line.bound)} | {'holds' if line.holds else 'BROKEN'} |"
        )
    return "\n".join(lines)


def _short(error: float) -> str:
    return "0" if error == 0 else f"{error:.0e}".replace("e-0", "e-")


def save(parity: GradientParity, folder: Path, stack: Mapping[str, Any]) -> None:
    """Write gradient_parity.json and gradient_parity.md."""
    made_with = {**stack, **{name: version(name) for name in ("torch", "accelerate", "deepspeed")}}
    make_folder(folder)
    write_json(folder / "gradient_parity.json", {"holds": parity.holds, "stack": made_with, **asdict(parity)})
    write_atomic(folder / "gradient_parity.md", page(parity, made_with).encode())
    write_manifest(folder, [folder / "gradient_parity.json", folder / "gradient_parity.md"])


def page(parity: GradientParity, stack: Mapping[str, Any]) -> str:
    """The parity for a reader."""
    cost = ""
    if parity.rank_invariant_cost:
        low, middle, high = parity.rank_invariant_cost
        cost = (
            f"\nA step with rank-invariant reduction takes {middle:.2f} times as long as a DDP step with the same "
            f"micro-batches (quartiles {low:.2f} and {high:.2f}; two ranks, interleaved).\n"
        )
    return (
        "# Gradient norms in every layout\n\n"
        "Largest relative error against a single process over 6 steps, 2 seeds and all layers, by `gpt "
        "check-gradients`: the norm of each layer's gradient before clipping, the loss, the factor of clipping, the "
        "loss of each window of an evaluation, and the norm of each micro-batch's gradient. "
        f"Made on {stack['device']}, with torch {stack['torch']}, accelerate {stack['accelerate']}, "
        f"DeepSpeed {stack['deepspeed']}.\n\n"
        f"{table(parity)}\n{cost}"
    )
