"""Masked multi-head self-attention, by a fused kernel and by the textbook formula.

Shapes: S seed, B batch, T position, U key position, H heads, K head width, D model width.
Attention has no weights of its own, so S and B fold into one batch for the kernel.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpt.config import ModelConfig
from gpt.model.intermediates import Intermediates
from gpt.model.linear import Linear
from gpt.model.norm import NORMS
from gpt.model.position import PositionEncoding

EXPLICIT_INTERMEDIATES = {"attention", "attention_logits"}
"""what the fused kernels never hold"""


SDPA_BACKENDS = ("flash", "mem_efficient", "math")
"""kernels that torch may take for fused attention on a GPU; cuDNN's are left out, whose gradients were seen to be NaN
in bf16 while the loss was sound"""


def restrict_sdpa() -> None:
    """Let torch take no other kernels than those, in this process."""
    torch.backends.cuda.enable_cudnn_sdp("cudnn" in SDPA_BACKENDS)


def causal_mask(length: int, device: torch.device) -> Tensor:
    """(T, U): 0 where position t may look at u <= t, minus infinity elsewhere."""
    return torch.full((length, length), -math.inf, device=device).triu(1)


def fused_attention(q_SBHTK: Tensor, k_SBHUK: Tensor, v_SBHUK: Tensor, bias_HTU: Tensor | None) -> Tensor:
    """Attention by PyTorch's fused kernels, which never hold the (T, U) weights of a whole batch."""
    q, k, v = (x.flatten(0, 1) for x in (q_SBHTK, k_SBHUK, v_SBHUK))
    mask = None if bias_HTU is None else (bias_HTU + causal_mask(bias_HTU.shape[-1], bias_HTU.device)).to(q_SBHTK)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    return out.unflatten(0, q_SBHTK.shape[:2])


def attention_logits(q_SBHTK: Tensor, k_SBHUK: Tensor, bias_HTU: Tensor | None) -> Tensor:
    """q k^T / sqrt(K) + bias: (S, B, H, T, U), those of the future included."""
    logits_SBHTU = q_SBHTK @ k_SBHUK.transpose(-1, -2) / math.sqrt(q_SBHTK.shape[-1])
    return logits_SBHTU if bias_HTU is None else logits_SBHTU + bias_HTU


def attention_weights(logits_SBHTU: Tensor) -> Tensor:
    """softmax(logits + mask) (Vaswani et al. 2017, equation 1): (S, B, H, T, U), rows sum to 1."""
    return torch.softmax(logits_SBHTU + causal_mask(logits_SBHTU.shape[-1], logits_SBHTU.device), dim=-1)


class Attention(nn.Module):
    """Queries, keys and values from one product; positions by the part that is handed in."""

    def __init__(self, config: ModelConfig, seeds: int):
        super().__init__()
        self.heads = config.heads
        self.explicit = config.attention == "explicit"
        self.qkv = Linear(seeds, config.width, 3 * config.width, bias=config.bias, side_by_side=3)
        self.out = Linear(seeds, config.width, config.width, bias=config.bias, residual=True)
        norm = NORMS[config.norm]
        self.q_norm = norm(config, seeds, config.head_width) if config.qk_norm else nn.Identity()
        self.k_norm = norm(config, seeds, config.head_width) if config.qk_norm else nn.Identity()

    def forward(self, x_SBTD: Tensor, position: PositionEncoding, intermediates: Intermediates) -> Tensor:
        q, k, v = (self._split(x) for x in self.qkv(x_SBTD).chunk(3, dim=-1))
        q, k = position.rotate(self.q_norm(q)), position.rotate(self.k_norm(k))
        bias_HTU = position.bias_HTU(x_SBTD.shape[2])
        if self.explicit or intermediates.names & EXPLICIT_INTERMEDIATES:
            logits_SBHTU = attention_logits(q, k, bias_HTU)
            weights_SBHTU = attention_weights(logits_SBHTU)
            intermediates.keep("attention_logits", logits_SBHTU)
            intermediates.keep("attention", weights_SBHTU)
            mixed_SBHTK = weights_SBHTU.to(v.dtype) @ v
        else:
            mixed_SBHTK = fused_attention(q, k, v, bias_HTU)
        return self.out(mixed_SBHTK.transpose(2, 3).flatten(-2))

    def _split(self, x_SBTD: Tensor) -> Tensor:
        """(S, B, T, D) -> (S, B, H, T, K)."""
        return x_SBTD.unflatten(-1, (self.heads, -1)).transpose(2, 3)
