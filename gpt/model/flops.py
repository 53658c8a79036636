"""How many parameters a model has and how much arithmetic a token costs, from its configuration alone."""

import torch

from gpt.config import ModelConfig
from gpt.model.gpt import GPT
from gpt.model.init import Matrix, parameter_kinds


def parameter_count(config: ModelConfig, vocabulary: int) -> int:
    """Trained numbers of one seed's model; tied weights count once."""
    with torch.device("meta"):
        return sum(p.numel() for p in GPT(config, vocabulary, seeds=1).parameters())


def training_flops_per_token(config: ModelConfig, vocabulary: int) -> int:
    """Multiplications and additions of the matrix products of one token's forward and backward pass.

    Two for each weight of a product and, in attention, two products of length-`context` rows with width-D vectors in
    each block (Chowdhery et al. 2022, appendix B); the backward pass costs twice the forward pass.
    """
    with torch.device("meta"):
        model = GPT(config, vocabulary, seeds=1)
    kinds = parameter_kinds(model)
    weights = sum(p.numel() for name, p in model.named_parameters() if isinstance(kinds[name], Matrix))
    head = config.width * vocabulary if config.tie_embeddings else 0
    return 3 * (2 * (weights + head) + 4 * config.layers * config.context * config.width)
