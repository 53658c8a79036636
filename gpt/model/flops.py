"""How many parameters a model has and how much arithmetic a token costs."""

from gpt.config import ModelConfig
from gpt.model.gpt import GPT
from gpt.model.init import Matrix, parameter_kinds


def parameter_count(model: GPT) -> int:
    """Trained numbers of one seed's model; tied weights count once."""
    return sum(p[0].numel() for p in model.parameters())


def training_flops_per_token(model: GPT, config: ModelConfig) -> int:
    """Multiplications and additions of the matrix products of one token's forward and backward pass, for one seed.

    Two for each weight of a product and, in attention, two products of length-`context` rows with width-D vectors in
    each block (Chowdhery et al. 2022, appendix B); the backward pass costs twice the forward pass.
    """
    kinds = parameter_kinds(model)
    weights = sum(p[0].numel() for name, p in model.named_parameters() if isinstance(kinds[name], Matrix))
    head = model.embedding.weight[0].numel() if config.tie_embeddings else 0
    return 3 * (2 * (weights + head) + 4 * config.layers * config.context * config.width)
