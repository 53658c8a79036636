"""Size of the residual stream, layer by layer."""

import torch
from torch import Tensor

from gpt.probes.protocol import Probe, Taps


def residual_rms(taps: Taps) -> dict[str, Tensor]:
    """`residual_rms` (S, L+1): root mean square of the stream after the embedding and after each block."""
    rms = [x_SBTD.float().square().mean((1, 2, 3)).sqrt() for x_SBTD in taps["residual"]]
    return {"residual_rms": torch.stack(rms, dim=1)}


ACTIVATIONS = Probe(frozenset({"residual"}), residual_rms)
