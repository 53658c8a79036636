"""Initial weights, drawn for each seed from a stream named after the parameter.

The standard normal draw behind a weight depends on (seed, parameter name) alone; an initialisation only scales it.
So two variants that share a parameter share its initial value, whatever else differs between them.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from gpt import randomness
from gpt.config import ModelConfig
from gpt.errors import InputError
from gpt.registry import Registry, Variant


@dataclass(frozen=True)
class Constant:
    """A gain or a shift, (S, ...): it begins at one value and has no weight decay."""

    value: float


@dataclass(frozen=True)
class Table:
    """Vectors that are looked up, (S, rows, D): drawn and decayed, but multiplied by nothing."""


@dataclass(frozen=True)
class Matrix:
    """What every token is multiplied by, (S, inputs, outputs) or several of these side by side."""

    inputs: int
    outputs: int
    residual: bool = False
    """whether its product is added to the residual stream"""


Kind = Constant | Table | Matrix
"""what a parameter is: how it begins, whether it decays, whether a token's arithmetic has a product with it"""

GAIN, SHIFT, TABLE = Constant(1.0), Constant(0.0), Table()


class Initialisation(Variant):
    """Standard deviations of what is drawn."""

    def __init__(self, config: ModelConfig):
        self.config = config

    @abstractmethod
    def table_std(self) -> float: ...

    @abstractmethod
    def matrix_std(self, matrix: Matrix) -> float: ...


INITIALISATIONS = Registry("model.init", Initialisation)


@INITIALISATIONS.register("gpt2")
class GPT2(Initialisation):
    """0.02, and 0.02 / sqrt(2 L) where a sublayer adds to the residual stream (Radford et al. 2019)."""

    STD = 0.02

    def table_std(self) -> float:
        return self.STD

    def matrix_std(self, matrix: Matrix) -> float:
        return self.STD / math.sqrt(2 * self.config.layers) if matrix.residual else self.STD


@INITIALISATIONS.register("xavier")
class Xavier(Initialisation):
    """sqrt(2 / (inputs + outputs)) (Glorot and Bengio 2010); tables so that their vectors are of unit length."""

    def table_std(self) -> float:
        return self.config.width**-0.5

    def matrix_std(self, matrix: Matrix) -> float:
        return math.sqrt(2 / (matrix.inputs + matrix.outputs))


def parameter_kinds(model: nn.Module) -> dict[str, Kind]:
    """What each parameter is, as the module that holds it says in its `kinds`.

    Raises:
        InputError: a module says nothing of one of its parameters.
    """
    kinds = {}
    for prefix, module in model.named_modules():
        declared = getattr(module, "kinds", {})
        for name, _ in module.named_parameters(recurse=False):
            if name not in declared:
                cls = type(module).__name__
                raise InputError(f"{cls}.kinds: must say what its parameter {name} is, got {declared}")
            kinds[f"{prefix}.{name}".lstrip(".")] = declared[name]
    return kinds


@torch.no_grad()
def initialise(model: nn.Module, config: ModelConfig, seeds: tuple[int, ...]) -> None:
    """Fill every parameter of a model whose parameters lead with the seed axis."""
    initialisation = INITIALISATIONS[config.init](config)
    kinds = parameter_kinds(model)
    for name, parameter in model.named_parameters():
        kind = kinds[name]
        if isinstance(kind, Constant):
            parameter.fill_(kind.value)
            continue
        std = initialisation.matrix_std(kind) if isinstance(kind, Matrix) else initialisation.table_std()
        count = parameter[0].numel()
        draws = np.stack([randomness.normal(seed, f"init/{name}", count) for seed in seeds])
        parameter.copy_(torch.from_numpy(draws * std).view(parameter.shape))
