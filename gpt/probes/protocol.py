"""What a probe is: the windows and intermediates it wants, and a pure function of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Intermediates = dict[str, list[Tensor]]
Windows = Literal["text", "repeated"]
"""fixed windows of validation text; windows of random characters, each said twice (`gpt.data.batches`)"""


@dataclass(frozen=True)
class Probe:
    """A measurement on fixed windows; it sees intermediates only, so it cannot change training."""

    capture: frozenset[str]
    """keys of `gpt.model.intermediates.INTERMEDIATES`"""
    measure: Callable[[Intermediates], dict[str, Tensor]]
    """arrays by name, each leading with the seed axis"""
    windows: Windows = "text"
    """what the model reads meanwhile"""
