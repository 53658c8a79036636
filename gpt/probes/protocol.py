"""What a probe is: the windows and intermediates it asks for, what it records, and a pure function from one to the
other."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, Literal, get_args

from torch import Tensor

from gpt.config import ProbeConfig
from gpt.errors import InputError
from gpt.records.catalogue import Array
from gpt.registry import Registry, Variant

Intermediates = dict[str, list[Tensor]]
Windows = Literal["text", "repeated"]
"""fixed windows of validation text; windows of random characters, each said twice (`gpt.data.batches`)"""
WINDOWS: tuple[str, ...] = get_args(Windows)


class Probe(Variant):
    """A measurement on fixed windows; it sees intermediates only, so it cannot change training."""

    capture: ClassVar[frozenset[str]]
    """keys of `gpt.model.intermediates.INTERMEDIATES`"""
    windows: ClassVar[Windows] = "text"
    """what the model reads meanwhile"""

    def __init__(self, config: ProbeConfig):
        self.config = config

    @abstractmethod
    def arrays(self, context: int) -> Sequence[Array]:
        """What it measures; neutral levels may depend on how many characters the model can look back on."""

    @abstractmethod
    def measure(self, intermediates: Intermediates) -> dict[str, Tensor]:
        """The arrays by name, each leading with the seed axis."""

    def checked(self, measured: dict[str, Tensor], context: int) -> dict[str, Tensor]:
        """What `measure` returned, which must be what `arrays` declares.

        Raises:
            InputError: names an array that is missing, undeclared, or has other axes.
        """
        declared = {array.name: array.axes for array in self.arrays(context)}
        where = f"probe {type(self).__name__}"
        for name in sorted(declared.keys() ^ measured.keys()):
            missing = "declares but does not measure" if name in declared else "measures but does not declare"
            raise InputError(f"{where}: {missing} {name}; `arrays` and `measure` must name the same arrays")
        for name, axes in declared.items():
            if measured[name].dim() != 1 + len(axes):
                shape, must = list(measured[name].shape), ", ".join(["seed", *axes])
                raise InputError(f"{where}: {name} has the shape {shape}, must have the axes ({must})")
        return measured


PROBES = Registry("probes.extra", Probe)


def probes_of(config: ProbeConfig) -> list[Probe]:
    """What a run measures on the probe windows, where it probes at all."""
    return [PROBES[name](config) for name in PROBES.chosen(config.extra)]


def measure_all(
    probes: Sequence[Probe],
    read: Mapping[str, Tensor],
    observe: Callable[[Tensor, frozenset[str]], Intermediates],
) -> Iterator[tuple[Probe, dict[str, Tensor]]]:
    """Each probe with what it measures; those that read the same windows share one forward pass.

    Args:
        read: (N, T) by the names of `Windows`.
        observe: runs windows through the model and returns the intermediates of these names.
    """
    for windows, read_NT in read.items():
        asking = [probe for probe in probes if probe.windows == windows]
        capture = frozenset[str]().union(*(probe.capture for probe in asking))
        intermediates = observe(read_NT, capture) if capture else {}
        for probe in asking:
            yield probe, probe.measure(intermediates)
