"""Which setting makes compiled Post-LN steps non-finite on a GPU, where plain ones are sound?

    python tests/gpu/nan_bisection.py OUT.json [--seconds 330] [--small] [--device cpu] [--backend eager] [--case CASE]

Seen once: ten seeds together, bf16, dropout 0.2, learned positions, compiled, on an H200 with torch 2.11: all losses
NaN a few steps after a probe, weights finite. Each case changes one thing of that. A probe reads eight windows every
100 steps, as in a study. Steps are today's, whose faults are caught: `left_at` is the first step for which compiled
kernels gave a non-finite loss or norm where the plain step is finite, `diverged_at` one that the plain step confirms.

OUT.json is written after every case, and a case that is in it is not run again; most telling ones come first, and what
does not fit into the seconds is named as not run. Half a minute a case on a GPU is expected; none has run there yet.
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt.config import RunConfig
from gpt.data.batches import training_batch
from gpt.model import attention
from gpt.randomness import integers
from gpt.train.engines import compiled
from gpt.train.engines.replicated import ReplicatedEngine
from gpt.train.engines.step_modes import STEP_MODES, check_step
from gpt.train.optim.schedule import learning_rate

VOCABULARY = 65
MOST_TOKENS = 65_535
"""of one call of fused attention in the case that splits them"""
CAPTURED = ("residual", "attention", "attention_logits", "mlp")


@dataclass(frozen=True)
class Case:
    """The settings under which it was seen, unless they are changed."""

    mode: str = "compiled"
    seeds: int = 10
    placement: str = "post"
    precision: str = "bf16"
    dropout: float = 0.2
    probes: bool = True
    cudnn: bool = True
    """whether torch may take cuDNN's attention kernels, which gpt does not let it"""
    padding: bool = True
    """whether the compiler may pad strides and shapes"""
    split_attention: bool = False
    """whether attention is called on fewer than 65,536 tokens at once"""


CASES = {
    "as it was": Case(),
    "without cuDNN": Case(cudnn=False),
    "plain steps": Case(mode="eager"),
    "without probes": Case(probes=False),
    "attention split": Case(split_attention=True),
    "three seeds": Case(seeds=3),
    "without padding": Case(padding=False),
    "without dropout": Case(dropout=0.0),
    "fp32": Case(precision="fp32"),
    "Pre-LN": Case(placement="pre"),
    "graph": Case(mode="graph"),
    "graph without cuDNN": Case(mode="graph", cudnn=False),
    "plain steps without cuDNN": Case(mode="eager", cudnn=False),
}


@dataclass(frozen=True)
class Size:
    layers: int
    heads: int
    width: int
    context: int
    batch: int
    steps: int
    every: int
    """steps between two probes"""


BABY = Size(layers=6, heads=6, width=384, context=256, batch=64, steps=420, every=100)
SMALL = Size(layers=1, heads=2, width=16, context=16, batch=4, steps=4, every=2)


def config_of(case: Case, size: Size) -> RunConfig:
    shape = {name: getattr(size, name) for name in ("layers", "heads", "width", "context")}
    model = {**shape, "position": "learned", "norm_placement": case.placement, "dropout": case.dropout}
    train = {"steps": 5000, "batch_size": size.batch, "precision": case.precision, "eval_every": 250}
    optim = {"lr": 1e-3, "warmup_steps": 100}
    return RunConfig.model_validate({"model": model, "optim": optim, "train": {**train, "step": case.mode}})


@contextmanager
def settings_of(case: Case) -> Iterator[None]:
    """torch and attention as the case has them; undone afterwards."""
    import torch._inductor.config as inductor

    before = attention.fused_attention, inductor.comprehensive_padding, inductor.shape_padding
    allowed = torch.backends.cuda.cudnn_sdp_enabled()
    inductor.comprehensive_padding = inductor.shape_padding = case.padding
    if case.split_attention:
        attention.fused_attention = split_attention
    try:
        yield
    finally:
        attention.fused_attention, inductor.comprehensive_padding, inductor.shape_padding = before
        torch.backends.cuda.enable_cudnn_sdp(allowed)


_WHOLE = attention.fused_attention


def split_attention(q_SBHTK: Tensor, k_SBHUK: Tensor, v_SBHUK: Tensor, bias_HTU: Tensor | None) -> Tensor:
    """Fused attention, called once for each few samples."""
    samples = max(1, MOST_TOKENS // (q_SBHTK.shape[0] * q_SBHTK.shape[3]))
    parts = zip(*(x.split(samples, dim=1) for x in (q_SBHTK, k_SBHUK, v_SBHUK)), strict=True)
    return torch.cat([_WHOLE(q, k, v, bias_HTU) for q, k, v in parts], dim=1)


def run_case(case: Case, size: Size, device: torch.device) -> dict[str, Any]:
    """Train until something is not finite, or to the end."""
    config = config_of(case, size)
    check_step(config, device, 1)
    seeds = list(range(case.seeds))
    text = integers(0, "bisection", 200_000, VOCABULARY)
    windows_NT = torch.from_numpy(training_batch(text, [0], 0, range(8), size.context)[0, :, :-1])
    with settings_of(case):
        engine: ReplicatedEngine = STEP_MODES[case.mode](config, VOCABULARY, seeds, device)
        torch.backends.cuda.enable_cudnn_sdp(case.cudnn)  # which the engine has just forbidden
        began, losses, left_at, diverged_at = time.perf_counter(), [], None, None
        for step in range(1, size.steps + 1):
            batch = torch.from_numpy(training_batch(text, seeds, step, engine.samples, size.context))
            lr = learning_rate(step, config.train.steps, config.optim)
            out = engine.train_step(step, batch, lr, measure_updates=False)
            if case.probes and step % size.every == 0:
                engine.observe(windows_NT, CAPTURED)
            if step % 10 and step < size.steps:
                continue
            engine.settle()
            losses.append(float(out.loss_S.mean()))
            left_at = next((event["step"] for event in engine.take_events()), None)
            if not bool((out.loss_S.isfinite() & out.grad_norm_S.isfinite()).all()):
                diverged_at = step
            if left_at or diverged_at:
                break
        finite = all(bool(value.isfinite().all()) for value in engine.weights().values())
    return {
        "left_at": left_at, "diverged_at": diverged_at, "steps": step, "weights_finite": finite,
        "last_loss": losses[-1] if losses[-1] == losses[-1] else None, "seconds": time.perf_counter() - began,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("--case", action="append", choices=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--seconds", type=float, default=330.0, help="after which no case is begun")
    parser.add_argument("--small", action="store_true", help="a tiny model and four steps: to see that it works")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--backend", default=compiled.BACKEND, help="torch.compile's; eager writes no kernels")
    options = parser.parse_args()
    compiled.BACKEND = options.backend
    device, size = torch.device(options.device), SMALL if options.small else BABY
    found: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    found["machine"] = {"device": name, "torch": torch.__version__, "cuda": torch.version.cuda}
    done: dict[str, Any] = found.setdefault("cases", {})
    began = time.perf_counter()
    for title in options.case or CASES:
        if done.get(title, {}).get("steps"):
            continue
        if time.perf_counter() - began > options.seconds:
            done[title] = {"not_run": f"{options.seconds:g} s were over"}
            continue
        try:
            result = run_case(CASES[title], size, device)
        except Exception as error:  # a case that cannot run must not cost the others
            result = {"not_run": f"{type(error).__name__}: {error}"[:500]}
        done[title] = {**asdict(CASES[title]), **result}
        options.out.write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps({"case": title, **result}), flush=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
