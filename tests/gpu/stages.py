"""Everything that a GPU is needed for, in stages, the most telling first; a stage that is done is not done again.

    python tests/gpu/stages.py OUT [--seconds 800] [--nanogpt CHECKOUT] [--only STAGE] [--small] [--list]

Each stage has a time of its own, is written to OUT/stages.json at once, and leaves what it made in OUT. What does not
fit into the seconds is left for the next call. --small is for a CPU: the same commands on runs of a second.
Nothing is fetched: the text has to be in the cache (`gpt data tiny_shakespeare` once, or $GPT_CACHE).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from gpt.runner.checks.step_cases import VARIANTS

ROOT = Path(__file__).parents[2]
GPT = [sys.executable, "-m", "gpt"]
LAST_WORDS = 600
"""characters of a stage that failed which are kept"""


@dataclass(frozen=True)
class Stage:
    name: str
    seconds: float
    """after which it is ended; studies then resume in the next call"""
    command: list[str]
    stdout: str | None = None
    """file in OUT that keeps what the command prints"""


def stages(out: Path, nanogpt: Path | None, small: bool) -> Iterator[Stage]:
    """All stages; paths are in `out`."""
    device = "cpu" if small else "cuda"
    at = ["--device", device]
    against = ["--against", str(nanogpt)] if nanogpt else []
    quick = ["--quick", "--seeds", "1", "--ranks", "1"] if small else []
    modes = "compiled" if small else "compiled,graph"
    here = str(Path(__file__).parent)
    yield Stage("text", 60, [*GPT, "data", "tiny_shakespeare"])
    for variant in list(VARIANTS)[:1] if small else [*VARIANTS, "many tokens, bf16", "micro-batches"]:
        name = f"parity of {modes} steps: {variant}"
        yield Stage(name, 150, [sys.executable, f"{here}/step_parity.py", device, modes, variant], f"{name}.json")
    runs = ROOT / "configs" / "runs"
    baby, char, short = "baby_gpt", "nanogpt_cpu", ["--train.steps=20", "--optim.warmup_steps=2"]
    benches = [
        ("alone", baby, ["--modes", "graph,eager", "--seeds", "1", *against]),
        ("together", char, ["--modes", "graph", "--seeds", "64", *against]),
        ("together", baby, ["--modes", "graph", "--seeds", "16"]),
    ]
    for how, shape, words in [("alone", "char_quick", [*quick, *short])] if small else benches:
        name = f"bench {shape} {how}"
        command = [*GPT, "bench", str(runs / f"{shape}.yaml"), *at, "--json", *words]
        yield Stage(name, 420, command, f"{name}.json")
    bisection = [sys.executable, f"{here}/nan_bisection.py", str(out / "nan_bisection.json"), "--device", device]
    yield Stage("bisection of the NaN", 400, [*bisection, *(["--small", "--backend", "eager"] if small else [])])
    pytest = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"]
    strict = f"{ROOT}/tests/train/test_deterministic.py"
    yield Stage("strict mode", 300, [*pytest, "-m", "not gpu" if small else "gpu", strict])
    studies = ROOT / "configs" / "studies"
    if small:
        yield Stage("study char_quick", 120, [*GPT, "train", str(runs / "char_quick.yaml"), *at, "--out",
                    str(out / "runs"), *short])  # fmt: skip
        return
    for study in ("normalization", "positions", "clipping"):
        yield Stage(f"study {study}", 420, [*GPT, "study", "run", str(studies / "gpu" / f"{study}.yaml"), *at, "--out",
                    str(out / "studies")])  # fmt: skip
    yield Stage(
        "tests", 400, [*pytest, "-m", "gpu", "-k", "not parity and not every_part and not strict", f"{ROOT}/tests"]
    )


def run(stage: Stage, out: Path, seconds: float) -> dict[str, object]:
    """What became of it."""
    began, limit = time.monotonic(), min(seconds, stage.seconds)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        stage.command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        said, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 15)  # a study checkpoints and ends
        try:
            said, errors = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            said, errors = process.communicate()
        return {"state": "ended early", "after": limit, "said": (said + errors)[-LAST_WORDS:]}
    if stage.stdout:
        (out / stage.stdout.replace(" ", "_")).write_text(said)
    taken = time.monotonic() - began
    done = {"state": "done" if process.returncode == 0 else "failed", "code": process.returncode, "seconds": taken}
    return done if process.returncode == 0 else {**done, "said": (said + errors)[-LAST_WORDS:]}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=800.0, help="after which no stage is begun")
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT")
    parser.add_argument("--only", action="append", metavar="STAGE", help="stages whose names begin so")
    parser.add_argument("--small", action="store_true", help="on a CPU, to see that it works")
    parser.add_argument("--list", action="store_true", help="name the stages and end")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    nanogpt = options.nanogpt and options.nanogpt.resolve()
    wanted = [stage for stage in stages(out, nanogpt, options.small)
              if not options.only or stage.name.startswith(tuple(options.only))]  # fmt: skip
    if options.list:
        print("\n".join(f"{stage.seconds:5.0f} s  {stage.name}" for stage in wanted))
        return 0
    if not options.small and not torch.cuda.is_available():
        print("tests/gpu/stages.py: torch finds no GPU; --small tries the stages on a CPU", file=sys.stderr)
        return 2
    file = out / "stages.json"
    found = json.loads(file.read_text()) if file.exists() else {}
    began = time.monotonic()
    for stage in wanted:
        left = options.seconds - (time.monotonic() - began)
        if found.get(stage.name, {}).get("state") in ("done", "failed") and not options.only:
            continue
        if left <= 0:
            found.setdefault(stage.name, {"state": "not begun"})
            continue
        print(f"{stage.name}: at most {min(left, stage.seconds):.0f} s", file=sys.stderr, flush=True)
        found[stage.name] = run(stage, out, left)
        file.write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps({stage.name: found[stage.name]}), flush=True)
    file.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(found[stage.name]["state"] == "done" for stage in wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
