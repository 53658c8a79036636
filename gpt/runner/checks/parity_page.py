"""The gradient parity for a reader: a table, a page, and files."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gpt.records.files import make_folder, write_atomic, write_json
from gpt.records.manifest import write_manifest
from gpt.runner.checks.gradient_parity import GradientParity


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
