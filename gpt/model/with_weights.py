"""A model as a function of its weights, so that trained weights are used without another model being built."""

from collections.abc import Callable, Collection, Mapping

from torch import Tensor
from torch.func import functional_call

from gpt.model.gpt import GPT

Forward = Callable[..., tuple[Tensor, dict[str, list[Tensor]]]]
"""(S, B, T) characters and names of intermediates -> (S, B, T, V) logits and these intermediates"""


def with_weights(model: GPT, weights: Mapping[str, Tensor], tables: Mapping[str, Tensor] | None = None) -> Forward:
    """The model, computing on its device with other weights than its own, of any number of seeds.

    Args:
        tables: buffers that take the place of the model's own.
    """
    device = model.embedding.weight.device
    tensors = {name: value.detach().to(device).requires_grad_() for name, value in weights.items()}
    tensors |= tables or {}

    def forward(tokens_SBT: Tensor, capture: Collection[str] = ()) -> tuple[Tensor, dict[str, list[Tensor]]]:
        return functional_call(model, tensors, (tokens_SBT.to(device), capture))

    return forward
