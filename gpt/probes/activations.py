"""Size and shape of the values that flow through the model, layer by layer.

Shapes: S seed, B window, T position, D model width, F feed-forward width, L layer.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpt.probes.protocol import PROBES, Intermediates, Probe
from gpt.records.catalogue import Array, Summary

DEAD = 0.01
"""a hidden unit is dead if it never exceeds this share of its layer's root mean square"""


@PROBES.register("residual")
class ResidualStatistics(Probe):
    """The stream's root mean square, largest absolute value and excess kurtosis, after the embedding and each layer.

    Excess kurtosis is the fourth central moment over the squared variance, less the 3 of a normal distribution: high
    where a few values stand out from the rest.
    """

    always = True
    capture = frozenset({"residual"})

    def arrays(self, context: int) -> Sequence[Array]:
        growth = Summary(
            name="residual_growth",
            title="growth of the stream",
            unit="factor",
            meaning="size of the residual stream after the last layer over that after the embedding",
            over="growth",
        )
        kurtosis = Summary(
            unit="excess kurtosis", meaning="of the residual stream at the end, largest over its places", over="max"
        )
        return (
            Array(
                name="residual_rms",
                axes=("depth",),
                title="root mean square of the stream",
                meaning="1 is where normalisation puts it",
                scale="log",
                neutral=1.0,
                summaries=(growth,),
            ),
            Array(name="residual_max", axes=("depth",), title="largest absolute value of the stream", scale="log"),
            Array(
                name="residual_kurtosis",
                axes=("depth",),
                title="excess kurtosis of the stream",
                meaning="above 0, few values are far larger than the others",
                scale="symlog",
                neutral=0.0,
                summaries=(kurtosis,),
            ),
        )

    def measure(self, intermediates: Intermediates) -> dict[str, Tensor]:
        streams = [x_SBTD.float().flatten(1) for x_SBTD in intermediates["residual"]]
        return {
            "residual_rms": torch.stack([x.square().mean(1).sqrt() for x in streams], dim=1),
            "residual_max": torch.stack([x.abs().amax(1) for x in streams], dim=1),
            "residual_kurtosis": torch.stack([excess_kurtosis(x) for x in streams], dim=1),
        }


def excess_kurtosis(x_SN: Tensor) -> Tensor:
    """(S,): 0 for a normal distribution, -2 at the least; NaN where all values are equal."""
    centred_SN = x_SN - x_SN.mean(1, keepdim=True)
    return centred_SN.pow(4).mean(1) / centred_SN.square().mean(1).square() - 3


@PROBES.register("dead_units")
class DeadUnits(Probe):
    """Share of each layer's hidden feed-forward units that are dead on every probed character."""

    always = True
    capture = frozenset({"mlp"})

    def arrays(self, context: int) -> Sequence[Array]:
        last = Summary(title="dead units", meaning="feed-forward units that are dead at the end")
        return (
            Array(
                name="dead_share",
                axes=("layer",),
                unit="share of units",
                title="dead feed-forward units",
                meaning="they stay below 1 % of their layer's size on all probed text",
                summaries=(last,),
            ),
        )

    def measure(self, intermediates: Intermediates) -> dict[str, Tensor]:
        shares = []
        for hidden_SBTF in intermediates["mlp"]:
            largest_SF = hidden_SBTF.float().abs().amax((1, 2))
            rms_S = hidden_SBTF.float().square().mean((1, 2, 3)).sqrt()
            shares.append((largest_SF < DEAD * rms_S[:, None]).float().mean(1))
        return {"dead_share": torch.stack(shares, dim=1)}
