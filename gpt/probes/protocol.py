"""What a probe is: the windows and intermediates it asks for, and a pure function of them."""

from abc import abstractmethod
from typing import ClassVar, Literal

from torch import Tensor

from gpt.config import ProbeConfig
from gpt.registry import Registry, Variant

Intermediates = dict[str, list[Tensor]]
Windows = Literal["text", "repeated"]
"""fixed windows of validation text; windows of random characters, each said twice (`gpt.data.batches`)"""


class Probe(Variant):
    """A measurement on fixed windows; it sees intermediates only, so it cannot change training."""

    capture: ClassVar[frozenset[str]]
    """keys of `gpt.model.intermediates.INTERMEDIATES`"""
    windows: ClassVar[Windows] = "text"
    """what the model reads meanwhile"""

    def __init__(self, config: ProbeConfig):
        self.config = config

    @abstractmethod
    def measure(self, intermediates: Intermediates) -> dict[str, Tensor]:
        """Arrays by name, each leading with the seed axis."""


PROBES = Registry("probes.extra", Probe)


def probes_of(config: ProbeConfig) -> list[Probe]:
    """What is measured on the probe windows; nothing where probes are off."""
    return [PROBES[name](config) for name in PROBES.chosen(config.extra)] if config.every else []
