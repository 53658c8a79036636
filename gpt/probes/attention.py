"""Where each head looks: scores of its weights and logits, and the weights themselves on a fixed text.

Shapes: S seed, B window, T position, U key position, H head, L layer.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gpt.probes.protocol import PROBES, Intermediates, Probe
from gpt.records.catalogue import Array, Summary
from gpt.records.schema import ATTENTION_ENTROPY

HEADS = ("layer", "head")
WEIGHT = "attention weight"
EVEN = "attention spread evenly"


@PROBES.register("attention")
class AttentionScores(Probe):
    """Scores and largest logit of every head, and the weights on the first window's first characters."""

    always = True
    capture = frozenset({"attention", "attention_logits"})

    def arrays(self, context: int) -> Sequence[Array]:
        spread = Summary(title="attention entropy", meaning="entropy of attention at the end, mean over all heads")
        previous = Summary(meaning="weight of the best previous-character head at the end", over="max")
        largest = Summary(
            title="largest logit", meaning="largest attention logit at any probed step", steps="all", over="max"
        )
        return (
            Array(
                name=ATTENTION_ENTROPY,
                axes=HEADS,
                unit="nats",
                title="entropy",
                meaning="how spread out attention is: low, a head looks at few characters",
                neutral=even_entropy(context),
                neutral_title=EVEN,
                summaries=(spread,),
            ),
            Array(
                name="attention_distance",
                axes=HEADS,
                unit="characters",
                title="distance looked back",
                meaning="how far back a head looks, weighted by attention",
                neutral=even_distance(context),
                neutral_title=EVEN,
            ),
            Array(
                name="attention_previous",
                axes=HEADS,
                unit=WEIGHT,
                title="weight on the previous character",
                meaning="near 1, a head copies from the character before",
                neutral=even_weight(context),
                neutral_title=EVEN,
                summaries=(previous,),
            ),
            Array(
                name="attention_first",
                axes=HEADS,
                unit=WEIGHT,
                title="weight on the first character",
                meaning="near 1, a head rests on the window's first character: an attention sink",
                neutral=even_weight(context),
                neutral_title=EVEN,
            ),
            Array(
                name="attention_logit_max",
                axes=HEADS,
                unit="logit",
                title="largest logit",
                meaning="largest absolute attention logit: growth without bound comes before attention that collapses",
                summaries=(largest,),
            ),
            Array(
                name="attention_heatmap",
                axes=(*HEADS, "position", "key"),
                unit=WEIGHT,
                title="attention",
                meaning="row: the position that looks; column: what it looks at",
            ),
        )

    def measure(self, intermediates: Intermediates) -> dict[str, Tensor]:
        weights, logits = intermediates["attention"], intermediates["attention_logits"]
        kept = slice(self.config.heatmap_characters)
        of_layers = [scores(weights_SBHTU) for weights_SBHTU in weights]
        return {
            **{name: torch.stack([layer[name] for layer in of_layers], dim=1) for name in of_layers[0]},
            "attention_logit_max": torch.stack([largest(logits_SBHTU) for logits_SBHTU in logits], dim=1),
            "attention_heatmap": torch.stack([w[:, 0, :, kept, kept].half() for w in weights], dim=1),
        }


@PROBES.register("induction")
class Induction(Probe):
    """On windows whose second half repeats the first: the weight on what came next then.

    Mean over the second half of the weight on the character after the earlier occurrence of the one that looks
    (prefix matching; Olsson et al. 2022).
    """

    always = True
    capture = frozenset({"attention"})
    windows = "repeated"

    def arrays(self, context: int) -> Sequence[Array]:
        best = Summary(title="best induction head", meaning="weight of the best induction head at the end", over="max")
        return (
            Array(
                name="attention_induction",
                axes=HEADS,
                unit=WEIGHT,
                title="induction score",
                meaning="on repeated random characters, the weight on what followed the earlier occurrence (Olsson et "
                "al. 2022): near 1, a head continues patterns that it has seen before",
                summaries=(best,),
            ),
        )

    def measure(self, intermediates: Intermediates) -> dict[str, Tensor]:
        scores = []
        for weights_SBHTU in intermediates["attention"]:
            period = math.ceil(weights_SBHTU.shape[-1] / 2)
            scores.append(weights_SBHTU.diagonal(1 - period, -2, -1)[..., 1:].float().mean((1, 3)))
        return {"attention_induction": torch.stack(scores, dim=1)}


def scores(weights_SBHTU: Tensor) -> dict[str, Tensor]:
    """Means over windows and positions, each of shape (S, H).

    `attention_previous` and `attention_first`, the weights on the character before and on the window's first one (an
    attention sink; Xiao et al. 2023), leave out the first position, which can look at itself alone.
    """
    return {
        ATTENTION_ENTROPY: entropy(weights_SBHTU).mean((1, 3)),
        "attention_distance": distance(weights_SBHTU).mean((1, 3)),
        "attention_previous": weights_SBHTU.diagonal(-1, -2, -1).float().mean((1, 3)),
        "attention_first": weights_SBHTU[..., 1:, 0].float().mean((1, 3)),
    }


def entropy(weights_SBHTU: Tensor) -> Tensor:
    """(S, B, H, T): entropy of each row of attention weights, nats; between 0 and ln(t) for t visible positions."""
    return torch.special.entr(weights_SBHTU.float()).sum(-1)


def distance(weights_SBHTU: Tensor) -> Tensor:
    """(S, B, H, T): how many characters back a position looks on average; between 0 and t - 1."""
    positions_T = torch.arange(weights_SBHTU.shape[-1], device=weights_SBHTU.device, dtype=torch.float32)
    return positions_T - weights_SBHTU.float() @ positions_T


def largest(logits_SBHTU: Tensor) -> Tensor:
    """(S, H): largest absolute logit of a visible position; it grows before some divergences (Dehghani et al. 2023)."""
    return logits_SBHTU.float().tril().abs().amax((1, 3, 4))


def even_entropy(context: int) -> float:
    """Mean entropy in nats of attention that spreads evenly over all visible positions: the mean of ln t, t = 1..T."""
    return math.fsum(math.log(t) for t in range(1, context + 1)) / context


def even_distance(context: int) -> float:
    """Mean distance that evenly spread attention looks back, characters: the mean of t / 2, t = 0..T-1."""
    return (context - 1) / 4


def even_weight(context: int) -> float:
    """Its mean weight on one given character, the previous or the first, from all positions but the first."""
    return float((1 / np.arange(2, context + 1)).mean()) if context > 1 else 1.0
