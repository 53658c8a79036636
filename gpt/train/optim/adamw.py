"""AdamW over parameters that lead with the seed axis."""

from torch import nn
from torch.optim import AdamW

from gpt.config import OptimConfig


def build_optimizer(model: nn.Module, optim: OptimConfig) -> AdamW:
    """AdamW with weight decay on matrices and embeddings only.

    Biases and norms are told apart by the dimensions left without the seed axis, so stacking seeds cannot make a
    gain look like a matrix.
    """
    decayed = [p for p in model.parameters() if p.ndim > 2]
    kept = [p for p in model.parameters() if p.ndim == 2]
    groups = [{"params": decayed, "weight_decay": optim.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return AdamW(
        [group for group in groups if group["params"]],
        lr=optim.lr,
        betas=(optim.beta1, optim.beta2),
        eps=optim.eps,
        fused=True,
    )
