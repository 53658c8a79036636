"""Where each head looks: scores of its weights and logits, and the weights themselves on a fixed text.

Shapes: S seed, B window, T position, U key position, H head, L layer.
"""

import math

import numpy as np
import torch
from torch import Tensor

from gpt.probes.protocol import PROBES, Intermediates, Probe
from gpt.records.catalogue import Array, Summary, declare


def entropy(weights_SBHTU: Tensor) -> Tensor:
    """(S, B, H, T): entropy of each row of attention weights, nats; between 0 and ln(t) for t visible positions."""
    return torch.special.entr(weights_SBHTU.float()).sum(-1)


def distance(weights_SBHTU: Tensor) -> Tensor:
    """(S, B, H, T): how many characters back a position looks on average; between 0 and t - 1."""
    positions_T = torch.arange(weights_SBHTU.shape[-1], device=weights_SBHTU.device, dtype=torch.float32)
    return positions_T - weights_SBHTU.float() @ positions_T


def scores(weights_SBHTU: Tensor) -> dict[str, Tensor]:
    """Means over windows and positions, each of shape (S, H).

    `attention_previous` and `attention_first`, the weights on the character before and on the window's first one (an
    attention sink; Xiao et al. 2023), leave out the first position, which can look at itself alone.
    """
    return {
        "attention_entropy": entropy(weights_SBHTU).mean((1, 3)),
        "attention_distance": distance(weights_SBHTU).mean((1, 3)),
        "attention_previous": weights_SBHTU.diagonal(-1, -2, -1).float().mean((1, 3)),
        "attention_first": weights_SBHTU[..., 1:, 0].float().mean((1, 3)),
    }


@PROBES.register("attention")
class AttentionScores(Probe):
    """Scores and largest logit per head, (S, L, H), and the weights on the first window's first characters."""

    always = True
    capture = frozenset({"attention", "attention_logits"})

    def measure(self, intermediates: Intermediates) -> dict[str, Tensor]:
        kept = slice(self.config.heatmap_characters)
        of_layers = [scores(weights_SBHTU) for weights_SBHTU in intermediates["attention"]]
        return {
            **{name: torch.stack([layer[name] for layer in of_layers], dim=1) for name in of_layers[0]},
            "attention_logit_max": torch.stack(
                [largest(logits) for logits in intermediates["attention_logits"]], dim=1
            ),
            "attention_heatmap": torch.stack(
                [w[:, 0, :, kept, kept].half() for w in intermediates["attention"]], dim=1
            ),
        }


def largest(logits_SBHTU: Tensor) -> Tensor:
    """(S, H): largest absolute logit of a visible position; it grows before some divergences (Dehghani et al. 2023)."""
    return logits_SBHTU.float().tril().abs().amax((1, 3, 4))


@PROBES.register("induction")
class Induction(Probe):
    """`attention_induction` (S, L, H), on windows whose second half repeats the first: weight on what came next then.

    Mean over the second half of the weight on the character after the earlier occurrence of the one that looks
    (prefix matching; Olsson et al. 2022).
    """

    always = True
    capture = frozenset({"attention"})
    windows = "repeated"

    def measure(self, intermediates: Intermediates) -> dict[str, Tensor]:
        scores = []
        for weights_SBHTU in intermediates["attention"]:
            period = math.ceil(weights_SBHTU.shape[-1] / 2)
            scores.append(weights_SBHTU.diagonal(1 - period, -2, -1)[..., 1:].float().mean((1, 3)))
        return {"attention_induction": torch.stack(scores, dim=1)}


def even_entropy(context: int) -> float:
    """Mean entropy in nats of attention that spreads evenly over all visible positions: the mean of ln t, t = 1..T."""
    return math.fsum(math.log(t) for t in range(1, context + 1)) / context


def even_distance(context: int) -> float:
    """Mean distance that evenly spread attention looks back, characters: the mean of t / 2, t = 0..T-1."""
    return (context - 1) / 4


def even_weight(context: int) -> float:
    """Its mean weight on one given character, the previous or the first, from all positions but the first."""
    return float((1 / np.arange(2, context + 1)).mean()) if context > 1 else 1.0


EVEN = "attention spread evenly"

declare(
    Array(
        name="attention_entropy",
        axes=("layer", "head"),
        unit="nats",
        title="entropy",
        meaning="how spread out attention is: low, a head looks at few characters",
        neutral_title=EVEN,
        summaries=(
            Summary(
                name="attention_entropy",
                title="attention entropy",
                unit="nats",
                meaning="entropy of attention at the end, mean over all heads",
            ),
        ),
    ),
    even_entropy,
)
declare(
    Array(
        name="attention_distance",
        axes=("layer", "head"),
        unit="characters",
        title="distance looked back",
        meaning="how far back a head looks, weighted by attention",
        neutral_title=EVEN,
    ),
    even_distance,
)
declare(
    Array(
        name="attention_previous",
        axes=("layer", "head"),
        unit="attention weight",
        title="weight on the previous character",
        meaning="near 1, a head copies from the character before",
        neutral_title=EVEN,
        summaries=(
            Summary(
                name="attention_previous",
                unit="attention weight",
                meaning="weight of the best previous-character head at the end",
                over="max",
            ),
        ),
    ),
    even_weight,
)
declare(
    Array(
        name="attention_first",
        axes=("layer", "head"),
        unit="attention weight",
        title="weight on the first character",
        meaning="near 1, a head rests on the window's first character: an attention sink",
        neutral_title=EVEN,
    ),
    even_weight,
)
declare(
    Array(
        name="attention_logit_max",
        axes=("layer", "head"),
        unit="logit",
        title="largest logit",
        meaning="largest absolute attention logit: growth without bound comes before attention that collapses",
        summaries=(
            Summary(
                name="attention_logit_max",
                title="largest logit",
                unit="logit",
                meaning="largest attention logit at any probed step",
                steps="all",
                over="max",
            ),
        ),
    )
)
declare(
    Array(
        name="attention_heatmap",
        axes=("layer", "head", "position", "key"),
        unit="attention weight",
        title="attention",
        meaning="row: the position that looks; column: what it looks at",
    )
)
declare(
    Array(
        name="attention_induction",
        axes=("layer", "head"),
        unit="attention weight",
        title="induction score",
        meaning="on repeated random characters, the weight on what followed the earlier occurrence (Olsson et al. "
        "2022): near 1, a head continues patterns that it has seen before",
        summaries=(
            Summary(
                name="attention_induction",
                title="best induction head",
                unit="attention weight",
                meaning="weight of the best induction head at the end",
                over="max",
            ),
        ),
    )
)
