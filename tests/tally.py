"""What a fault suite did: faults injected, faults survived, and the worst that was seen, by class of fault."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

Thing = TypeVar("Thing")


class Tally:
    """The count of one test."""

    def __init__(self, full: bool):
        """Args: full: inject all faults, not a sample of them."""
        self.full = full
        self.injected = 0
        self.survived = 0
        self.worst: dict[str, float] = {}

    @contextmanager
    def one(self) -> Iterator[None]:
        """One fault: injected and, if nothing is raised, survived."""
        self.injected += 1
        yield
        self.survived += 1

    def saw(self, what: str, value: float) -> None:
        """Keep the largest value."""
        self.worst[what] = max(value, self.worst.get(what, value))

    def some(self, things: Sequence[Thing], sample: int) -> Sequence[Thing]:
        """All things, or a sample spread evenly over them."""
        if self.full or len(things) <= sample:
            return things
        return [things[number * (len(things) - 1) // max(sample - 1, 1)] for number in range(sample)]

    def as_json(self) -> dict[str, Any]:
        return {"injected": self.injected, "survived": self.survived, "worst": self.worst}


def merged(tallies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The tallies of several tests as one."""
    worst: dict[str, float] = {}
    for tally in tallies:
        for what, value in tally["worst"].items():
            worst[what] = max(value, worst.get(what, value))
    counts = {name: sum(tally[name] for tally in tallies) for name in ("injected", "survived")}
    return counts | {"worst": dict(sorted(worst.items()))}
