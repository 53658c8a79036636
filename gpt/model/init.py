"""Initial weights, drawn for each seed from a stream named after the parameter.

The standard normal draw behind a weight depends on (seed, parameter name) alone; an initialisation only scales it.
So two variants that share a parameter share its initial value, whatever else differs between them.
"""

import math

import numpy as np
import torch
from torch import nn

from gpt import randomness
from gpt.config import ModelConfig

GPT2_STD = 0.02
RESIDUAL_OUTPUTS = ("attention.out.weight", "mlp.down.weight")


def embedding_std(config: ModelConfig) -> float:
    """Standard deviation of the token embedding's initial values."""
    return GPT2_STD if config.init == "gpt2" else config.width**-0.5


def weight_std(name: str, inputs: int, outputs: int, config: ModelConfig) -> float:
    """Standard deviation of a matrix's initial values.

    gpt2: 0.02, and 0.02 / sqrt(2 L) where a sublayer adds to the residual stream (Radford et al. 2019).
    xavier: sqrt(2 / (inputs + outputs)) (Glorot and Bengio 2010), queries, keys and values each on their own.
    """
    if config.init == "gpt2":
        return GPT2_STD / math.sqrt(2 * config.layers) if name.endswith(RESIDUAL_OUTPUTS) else GPT2_STD
    if name.endswith("attention.qkv.weight"):
        outputs //= 3
    return math.sqrt(2 / (inputs + outputs))


@torch.no_grad()
def initialise(model: nn.Module, config: ModelConfig, seeds: tuple[int, ...]) -> None:
    """Fill every parameter of a model whose parameters lead with the seed axis; gains are 1, biases 0."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
            continue
        _, inputs, outputs = parameter.shape
        embedding = name in ("embedding.weight", "position.weight")
        std = embedding_std(config) if embedding else weight_std(name, inputs, outputs, config)
        count = parameter[0].numel()
        draws = np.stack([randomness.normal(seed, f"init/{name}", count) for seed in seeds])
        parameter.copy_(torch.from_numpy(draws * std).view(parameter.shape))
