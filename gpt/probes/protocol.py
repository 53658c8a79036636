"""What a probe is: the intermediates it wants, and a pure function of them."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Taps = dict[str, list[Tensor]]


@dataclass(frozen=True)
class Probe:
    """A measurement on the fixed probe windows; it sees intermediates only, so it cannot change training."""

    want: frozenset[str]
    """keys of `gpt.model.taps.TAPS`"""
    measure: Callable[[Taps], dict[str, Tensor]]
    """arrays by name, each leading with the seed axis"""
