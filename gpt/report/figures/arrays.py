"""Probe arrays by layer, and by layer and head: how figures show them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gpt.records.even_attention import EVEN


@dataclass(frozen=True)
class Array:
    """One array of a run's probes."""

    name: str
    axes: tuple[str, ...]
    """`layer`; `depth`: the embedding, then each layer; `layer` and `head`"""
    title: str
    meaning: str = ""
    scale: Literal["linear", "log", "symlog"] = "linear"
    unit: str = ""
    neutral: Callable[[int], float] | None = None
    """what a model that does nothing in particular has, with so many positions"""
    neutral_words: str = ""


ARRAYS = (
    Array("residual_rms", ("depth",), "root mean square of the stream", "1 is where normalisation puts it", "log",
          neutral=lambda _: 1.0),
    Array("residual_max", ("depth",), "largest absolute value of the stream", scale="log"),
    Array("residual_kurtosis", ("depth",), "excess kurtosis of the stream",
          "above 0, few values are far larger than the others", "symlog", neutral=lambda _: 0.0),
    Array("dead_share", ("layer",), "dead feed-forward units",
          "they stay below 1 % of their layer's size on all probed text", unit="share"),
    Array("attention_entropy", ("layer", "head"), "entropy",
          "How spread out attention is: low, a head looks at few characters; at the dashed level, evenly at all it may "
          "see.", unit="nats", neutral=EVEN["attention_entropy"], neutral_words="even attention"),
    Array("attention_distance", ("layer", "head"), "distance looked back",
          "How far back a head looks, weighted by attention.", unit="characters",
          neutral=EVEN["attention_distance"], neutral_words="even attention"),
    Array("attention_previous", ("layer", "head"), "weight on the previous character",
          "Near 1, a head copies from the character before.",
          neutral=EVEN["attention_previous"], neutral_words="even attention"),
    Array("attention_first", ("layer", "head"), "weight on the first character",
          "Near 1, a head rests on the window's first character: an attention sink.",
          neutral=EVEN["attention_first"], neutral_words="even attention"),
    Array("attention_induction", ("layer", "head"), "induction score",
          "On repeated random characters, the weight on what followed the earlier occurrence (Olsson et al. 2022): "
          "near 1, a head continues patterns that it has seen before."),
    Array("attention_logit_max", ("layer", "head"), "largest logit",
          "Largest absolute attention logit: growth without bound comes before attention that collapses on single "
          "characters."),
)  # fmt: skip
