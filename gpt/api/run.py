"""A trained run as a Python program sees it, and what differs between two."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpt.analysis.run_reader import RunReader
from gpt.config import RunConfig
from gpt.errors import InputError
from gpt.fields import flatten
from gpt.fingerprint import as_recorded
from gpt.plugins import load_plugin
from gpt.records.metric import parse_metric
from gpt.records.run_folder import RunFolder, Status
from gpt.records.schema import VAL_LOSS
from gpt.yaml_file import parse

if TYPE_CHECKING:
    from torch import Tensor

    from gpt.data.tokenizer import Tokenizer
    from gpt.model.gpt import GPT

Series = tuple[NDArray[np.int64], NDArray[np.floating[Any]]]
"""steps (N,) and values (N, ...)"""


class Run:
    """One run: its configuration, its records as numpy arrays, and its model; read when asked for, and then kept.

    A run that is still training, diverged or failed has what it has recorded so far.
    """

    def __init__(self, folder: str | Path):
        """
        Raises:
            InputError: the folder holds no run.
        """
        self.folder = Path(folder)
        """`OUT/runs/<fingerprint>`"""
        self._records = RunReader(RunFolder(self.folder))
        if not self._records.info:
            raise InputError(f"{folder}: holds no run (no run.json); runs are in OUT/runs/FINGERPRINT")

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.status.state} at step {self.status.step} of {self.status.steps})"

    @property
    def status(self) -> Status:
        """`state` (done, diverged, running ...), `step`, and `why` it ended where it did not reach its last step."""
        return self._records.status

    @cached_property
    def config(self) -> RunConfig:
        """Everything that determines the run."""
        return parse(RunConfig, as_recorded(self._info("config")), str(self._records.folder.run_json))

    @property
    def layers(self) -> list[str]:
        """Names of the layers that have parameters of their own, from input to output."""
        return [str(layer) for layer in self._info("layers")]

    @property
    def curves(self) -> Mapping[str, Series]:
        """Each number of the run's rows: steps (N,) and values (N,), or (N, layers) for `grad/layer_norm`.

        Losses in nats per character; what was not finite is NaN. docs/probes.md says what each name means.
        """
        return {name: curve for name, curve in self._records.curves.items() if name != "step"}

    def curve(self, name: str) -> Series:
        """One of `curves`.

        Raises:
            InputError: the run did not record it; lists what it did.
        """
        return self._known(self.curves, name)

    @property
    def probes(self) -> Mapping[str, Series]:
        """Each array that the probes measured: probed steps (N,) and values (N, ...).

        `axes` says what the entries along the further axes are. Attention heatmaps are kept for three steps.
        """
        return self._records.probes

    def probe(self, name: str) -> Series:
        """One of `probes`.

        Raises:
            InputError: see `curve`.
        """
        return self._known(self.probes, name)

    def axes(self, name: str) -> list[list[str]]:
        """The names of the entries along each axis of a curve's or a probe's values, after the axis of steps.

        `[["layer 0", "layer 1"], ["head 0", "head 1"]]` for an array by layer and head; none for one number a step.
        """
        _, values = self._known({**self.curves, **self.probes}, name)
        return self._records.axis_names(name, values.shape[1:])

    @property
    def context_use(self) -> dict[str, NDArray[np.float64]]:
        """How the trained model uses its context, measured once at the end; empty where it was not."""
        return self._records.long_range or {}

    @property
    def window_losses(self) -> dict[str, NDArray[Any]]:
        """The loss of each held-out window, `window_loss_best` and `window_loss_last`, both (N,), and `window_is_test`;
        empty where the run has no test text.
        """
        return self._records.window_losses or {}

    @property
    def events(self) -> list[dict[str, Any]]:
        """What happened, each with its `step` and `kind`: loss spikes, non-finite numbers, collapsed attention."""
        return self._records.events

    @property
    def summary(self) -> dict[str, float]:
        """One number for each thing that reports tell of a run; NaN where there is nothing to tell."""
        lowest = parse_metric(f"{VAL_LOSS}.min")
        return {str(lowest): self._records.value(lowest), **self._records.secondary}

    @property
    def model(self) -> "GPT":
        """The model with the lowest validation loss, in evaluation mode; every tensor leads with a seed axis of 1.

        Raises:
            InputError: the run has not got to its first evaluation, or the file differs from its checksum.
        """
        return self._trained[0]

    @property
    def tokenizer(self) -> "Tokenizer":
        """Characters to tokens and back."""
        return self._trained[1]

    def forward(self, text: str, capture: Collection[str] = ()) -> "tuple[Tensor, dict[str, list[Tensor]]]":
        """Logits (T, V) for the character after each of the text's, and the captured intermediates, layer by layer.

        Args:
            capture: any of `residual` (T, D; also after the embedding), `attention` and `attention_logits` (H, T, T),
                `mlp` (T, F).

        Raises:
            InputError: the text does not fit the context or the alphabet, or there is no such intermediate.
        """
        import torch

        from gpt.model.intermediates import INTERMEDIATES

        if unknown := sorted(set(capture) - INTERMEDIATES.keys()):
            raise InputError(f"capture: got {unknown[0]!r}, must be among {', '.join(INTERMEDIATES)}")
        context = self.config.model.context
        if not 1 <= len(text) <= context:
            raise InputError(f"text: got {len(text)} characters, must be from 1 to the model's context of {context}")
        tokens = torch.from_numpy(self.tokenizer.encode(text)).view(1, 1, -1)
        with torch.no_grad():
            logits, captured = self.model(tokens, capture)
        return logits[0, 0], {name: [value[0, 0] for value in values] for name, values in captured.items()}

    def generate(self, prompt: str = "\n", characters: int = 300, temperature: float = 0.8, seed: int = 0) -> str:
        """The prompt and so many characters more; the same seed gives the same text.

        Raises:
            InputError: an argument out of its range, or a prompt with a character that the model does not know.
        """
        from gpt.commands.tools import SampleOptions
        from gpt.train.sampling import sample_text

        asked = {"prompt": prompt, "characters": characters, "temperature": temperature, "seed": seed}
        parse(SampleOptions, asked, "generate")
        return sample_text(self.model, self.tokenizer, self.config.model.context, prompt, characters, temperature, seed)

    @cached_property
    def _trained(self) -> "tuple[GPT, Tokenizer, int]":
        from gpt.train.saved_model import load_model

        return load_model(self._records.folder.model)

    def _info(self, key: str) -> Any:
        try:
            return self._records.info[key]
        except (KeyError, TypeError):
            raise InputError(f"{self._records.folder.run_json}: corrupt, must hold {key}") from None

    def _known(self, recorded: Mapping[str, Series], name: str) -> Series:
        if name not in recorded:
            raise InputError(f"{self.folder}: recorded no {name!r}, must be among {', '.join(sorted(recorded))}")
        return recorded[name]


def load_run(folder: str | Path, plugins: Sequence[str | Path] = ()) -> Run:
    """The run in a folder that `gpt train` or a study left, `OUT/runs/<fingerprint>`.

    Args:
        plugins: your own files of variants that its model was made with; none is needed to read the records.

    Raises:
        InputError: the folder holds no run, or a plug-in cannot be loaded.
    """
    for path in plugins:
        load_plugin(Path(path))
    return Run(folder)


@dataclass(frozen=True)
class Difference:
    """What differs between two runs; of one pair of runs, which says nothing of chance."""

    config: dict[str, tuple[Any, Any]]
    """fields of the configuration, by dotted names, whose values differ"""
    summary: dict[str, tuple[float, float]]
    """every number of `Run.summary`, of both"""


def compare_runs(a: Run, b: Run) -> Difference:
    """What differs between two runs, in what they are and in what came of them."""
    fields, others = flatten(a.config), flatten(b.config)
    numbers = b.summary
    return Difference(
        config={key: (value, others.get(key)) for key, value in fields.items() if value != others.get(key)},
        summary={name: (value, numbers.get(name, math.nan)) for name, value in a.summary.items()},
    )
