"""How many parameters a model has and how much arithmetic a token costs, from its configuration alone."""

from gpt.config import ModelConfig
from gpt.model.gpt import GPT
from gpt.model.init import Matrix, parameter_kinds


def parameter_count(config: ModelConfig, vocabulary: int) -> int:
    """Trained numbers of one seed's model; tied weights count once."""
    return sum(p.numel() for p in _outline(config, vocabulary).parameters())


def training_flops_per_token(config: ModelConfig, vocabulary: int) -> int:
    """Multiplications and additions of the matrix products of one token's forward and backward pass.

    Two for each weight of a product and, in attention, two products of length-`context` rows with width-D vectors in
    each block (Chowdhery et al. 2022, appendix B); the backward pass costs twice the forward pass.
    """
    model = _outline(config, vocabulary)
    kinds = parameter_kinds(model)
    weights = sum(p.numel() for name, p in model.named_parameters() if isinstance(kinds[name], Matrix))
    head = config.width * vocabulary if config.tie_embeddings else 0
    return 3 * (2 * (weights + head) + 4 * config.layers * config.context * config.width)


def _outline(config: ModelConfig, vocabulary: int) -> GPT:
    """A model whose parameters are not filled, and so take no memory.

    Not on torch's meta device, which computes positions by Python code and imports torch's compiler for it.
    """
    return GPT(config, vocabulary, seeds=1)
