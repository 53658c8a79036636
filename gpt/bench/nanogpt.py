"""nanoGPT's own training loop, out of a checkout of the user's: its train.py is read and run, piece by piece.

Everything before the loop (model, optimizer, autocast, compilation) and the loop's body are run as they stand there;
what is set is what its command line sets. Only two things are told otherwise: the size of the vocabulary, which it
would read from a pickled file, and that the evaluation before the first step is left out.
"""

import ast
import contextlib
import io
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from gpt.bench.device import synchronize
from gpt.config import RunConfig
from gpt.data.dataset import Dataset
from gpt.errors import InputError
from gpt.fields import flatten
from gpt.train.engines.deterministic import set_deterministic

SAME = {
    "model.position": "learned",
    "model.norm": "layernorm",
    "model.norm_placement": "pre",
    "model.mlp": "gelu",
    "model.qk_norm": False,
    "model.tie_embeddings": True,
    "model.attention": "fused",
    "model.init": "gpt2",
    "optim.optimizer": "adamw",
    "optim.schedule": "cosine",
    "optim.eps": 1e-8,
}
"""fields that nanoGPT has no choice for, and what it is there"""


def check_comparable(config: RunConfig, device: torch.device) -> None:
    """Refuse a run that nanoGPT cannot train.

    Raises:
        InputError: names the field.
    """
    fields = flatten(config)
    expected = SAME | ({"train.precision": "fp32"} if device.type == "cpu" else {})
    for key, value in expected.items():
        if fields[key] != value:
            where = " on a CPU" if key == "train.precision" else ""
            raise InputError(f"--against: {key}: got {fields[key]!r}, must be {value!r}, as nanoGPT has it{where}")


class NanoGPT:
    """A training that nanoGPT's own code does, on our text with our recipe; an arm of `gpt.bench.spread.alternate`."""

    def __init__(self, checkout: Path, config: RunConfig, data: Dataset, device: torch.device, seed: int = 1337):
        """
        Raises:
            InputError: the run is not one that nanoGPT can train, or the folder is no checkout that this can read.
        """
        check_comparable(config, device)
        self.synchronize = synchronize(device)
        self.steps_a_sample = 1
        self.losses: list[torch.Tensor] = []
        """of each step so far, on the device"""
        before, self._step = _read(checkout / "train.py")
        with contextlib.ExitStack() as resources:
            folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
            for name, tokens in (("train", data.train), ("val", data.val)):
                (folder / f"{name}.bin").write_bytes(tokens.astype(np.uint16).tobytes())
            words = [f"--{key}={value}" for key, value in _settings(config, device, folder).items()]
            self._names: dict[str, Any] = {"__name__": "nanogpt"}
            self._flags = (True, True)  # as its train.py sets them
            with self._its_world(checkout), _command_line(words):
                for statement in before:
                    exec(compile(ast.Module([statement], []), str(checkout / "train.py"), "exec"), self._names)
                    if "meta_vocab_size = " in ast.unparse(statement).splitlines()[0]:
                        self._names["meta_vocab_size"] = data.tokenizer.vocabulary_size
                    if ast.unparse(statement).startswith("torch.manual_seed"):
                        torch.manual_seed(seed)
                self._names["master_process"] = False
                self._run(1)
                self._names["master_process"] = True
            self._resources = resources.pop_all()

    @property
    def compiled(self) -> bool:
        return bool(self._names["compile"])

    def take(self, count: int) -> None:
        """Train so many steps more."""
        with self._its_world(None):
            self._run(count)

    def __call__(self) -> float:
        self.synchronize()
        with self._its_world(None):
            began = time.perf_counter()
            self._run(self.steps_a_sample)
            self.synchronize()
            return (time.perf_counter() - began) / self.steps_a_sample

    def _run(self, count: int) -> None:
        self._names["_turns"], self._names["_seen"] = range(count), self.losses
        exec(self._step, self._names)

    @contextlib.contextmanager
    def _its_world(self, folder: Path | None) -> Iterator[None]:
        """Its imports, its global switches of torch, and nothing of what it prints.

        Args:
            folder: to be the current one meanwhile.
        """
        ours = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = self._flags
        set_deterministic(False)
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            if folder is not None:
                stack.enter_context(contextlib.chdir(folder))
                sys.path.insert(0, str(folder.resolve()))
                stack.callback(sys.path.remove, sys.path[0])
                stack.callback(sys.modules.pop, "model", None)
            try:
                yield
            except (AttributeError, KeyError, NameError, ImportError, AssertionError, ValueError, OSError) as error:
                raise InputError(f"--against: nanoGPT's own code failed: {type(error).__name__}: {error}") from error
            finally:
                self._flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
                torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = ours

    def close(self) -> None:
        """Remove the text that was written for it."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(script: Path) -> tuple[list[ast.stmt], Any]:
    """What stands before the training loop, and the loop's body as code that runs it for each of `_turns`.

    After the step's forward and backward passes its loss is kept in `_seen`, without waiting for it.
    """
    try:
        tree = ast.parse(script.read_text(encoding="utf-8"))
    except (OSError, SyntaxError) as error:
        raise InputError(f"--against: {script.parent}: no checkout of nanoGPT: {error}") from None
    places = [place for place, statement in enumerate(tree.body) if isinstance(statement, ast.While)]
    if len(places) != 1 or not (script.parent / "model.py").is_file():
        raise InputError(
            f"--against: {script.parent}: no checkout of nanoGPT that this version can read: must hold model.py, and "
            "train.py with one loop at its top level"
        )
    loop = tree.body[places[0]]
    assert isinstance(loop, ast.While)
    keep = ast.parse("_seen.append(loss.detach() * gradient_accumulation_steps)").body
    turns = ast.For(ast.Name("_turn", ast.Store()), ast.Name("_turns", ast.Load()), [*loop.body, *keep], [])
    body = ast.fix_missing_locations(ast.Module([turns], []))
    return tree.body[: places[0]], compile(body, str(script), "exec")


def _settings(config: RunConfig, device: torch.device, folder: Path) -> dict[str, Any]:
    """nanoGPT's command line for our recipe: everything else is as shipped, compilation too, which its README turns
    off on a CPU.
    """
    model, optim, train = config.model, config.optim, config.train
    micro = train.micro_batch_size or train.batch_size
    return {
        "out_dir": folder,
        "dataset": folder,
        "eval_interval": 10**9,
        "log_interval": 10,
        "gradient_accumulation_steps": train.batch_size // micro,
        "batch_size": micro,
        "block_size": model.context,
        "n_layer": model.layers,
        "n_head": model.heads,
        "n_embd": model.width,
        "dropout": float(model.dropout),
        "bias": model.bias,
        "learning_rate": float(optim.lr),
        "min_lr": float(optim.lr * optim.final_lr_ratio),
        "warmup_iters": optim.warmup_steps,
        "max_iters": 10**9,
        "lr_decay_iters": train.steps,
        "weight_decay": float(optim.weight_decay),
        "beta1": float(optim.beta1),
        "beta2": float(optim.beta2),
        "grad_clip": float(optim.clip or 0.0),
        "device": device.type,
        "dtype": "bfloat16" if train.precision == "bf16" else "float32",
        "compile": device.type == "cuda",
    }


@contextlib.contextmanager
def _command_line(words: list[str]) -> Iterator[None]:
    """What a script finds as its arguments, and no rank of a launch."""
    before, rank = sys.argv, os.environ.pop("RANK", None)
    sys.argv = ["train.py", *words]
    try:
        yield
    finally:
        sys.argv = before
        if rank is not None:
            os.environ["RANK"] = rank
