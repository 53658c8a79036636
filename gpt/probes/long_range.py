"""How far back a trained model looks, in its losses and in its gradients.

Shapes: N window, T trained context, X position of a window that may be longer than that, K length of context, V
vocabulary. All of it is about one seed's model (S = 1).
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from gpt.model.gpt import token_losses
from gpt.probes.protocol import Intermediates
from gpt.records.catalogue import NATS, Array

Forward = Callable[[Tensor, Collection[str]], tuple[Tensor, Intermediates]]
"""a model: (1, N, X) characters and wanted intermediates -> (1, N, X, V) logits and intermediates"""


LONG_RANGE_ARRAYS = (
    Array(
        name="loss_by_position",
        axes=("position",),
        unit=NATS,
        title="loss",
        meaning="at each position of a window, some beyond the trained context",
    ),
    Array(
        name="context_loss",
        axes=("context_lengths",),
        unit=NATS,
        title="loss",
        meaning="of the same characters, seeing only so many before each",
    ),
    Array(
        name="dependency",
        axes=("distance",),
        unit="loss per embedding",
        title="gradient",
        meaning="norm of the gradient of the last loss by the embedding so many characters back",
        scale="log",
    ),
)
"""what `long_range` measures; `context_lengths` beside them are the coordinates of an axis"""


def long_range(forward: Forward, windows_NX: Tensor, context: int, together: int) -> dict[str, Tensor]:
    """Everything that is measured on how a model uses its context, nats per character where it is a loss.

    Args:
        windows_NX: windows of X + 1 characters, X at least the trained context.
        context: the trained context, T.
        together: windows in one forward pass, which bounds the memory.
    """
    inner_NX, lengths = windows_NX[:, : context + 1], context_lengths(context)
    chunks = inner_NX.split(together)
    with torch.no_grad():
        by_position_NX = torch.cat([losses(forward, chunk) for chunk in windows_NX.split(together)])
        last_KN = [torch.cat([losses(forward, chunk[:, -k - 1 :])[:, -1] for chunk in chunks]) for k in lengths]
    return {
        "loss_by_position": by_position_NX.mean(0),
        "context_lengths": torch.tensor(lengths),
        "context_loss": torch.stack(last_KN).mean(1),
        "dependency": torch.cat([gradient_by_distance(forward, chunk) for chunk in chunks]).mean(0),
    }


def context_lengths(context: int) -> list[int]:
    """1, 2, 4, ... and the trained context itself."""
    return [*(1 << power for power in range((context - 1).bit_length())), context]


def losses(forward: Forward, windows_NX: Tensor) -> Tensor:
    """(N, X): loss of each character after the first."""
    logits_SNXV, _ = forward(windows_NX[None, :, :-1], ())
    return token_losses(logits_SNXV, windows_NX[None, :, 1:])[0]


def gradient_by_distance(forward: Forward, windows_NX: Tensor) -> Tensor:
    """(N, X): norm of the gradient of the last character's loss by the embedding of the one k places before it.

    k = 0 is the character that is looked from. Close to Khandelwal et al. (2018), who ask what distant words change in
    the loss, but to first order.
    """
    with torch.enable_grad():
        logits_SNXV, intermediates = forward(windows_NX[None, :, :-1], ("residual",))
        last_SN1 = token_losses(logits_SNXV[:, :, -1:], windows_NX[None, :, -1:])
        (gradient_SNXD,) = torch.autograd.grad(last_SN1.sum(), intermediates["residual"][0])
    return torch.linalg.vector_norm(gradient_SNXD[0], dim=-1).flip(-1)
