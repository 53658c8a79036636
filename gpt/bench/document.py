"""What `gpt bench` answers: a document for programs, and a table for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpt.bench.ceiling import Ceiling
from gpt.bench.losses import LossComparison
from gpt.bench.parts import Part
from gpt.bench.ranks import RankCost
from gpt.bench.spread import Spread
from gpt.bench.start_up import StartUp

VERSION = 2
"""of the document's fields"""


@dataclass(frozen=True)
class StepCost:
    """Training steps in one way of computing them."""

    mode: str
    """how they are computed, a value of `train.step`"""
    deterministic: bool
    """whether in strict mode, a value of `train.deterministic`"""
    seeds: int
    """trained together"""
    seconds: Spread
    """of one step of all seeds"""
    tokens_per_second: float
    """of all seeds together, at the median"""
    utilisation: float
    """share of the ceiling, by the matrix products that the model needs"""
    over_base: Spread | None
    """tokens per second over those of the first line, in turns; None for the first line itself"""
    over_nanogpt: Spread | None
    """the same over nanoGPT's"""
    peak_memory: int | None
    """bytes of a GPU, this way alone with the first line's; None on a CPU, where only a process can be measured"""


@dataclass(frozen=True)
class Against:
    """nanoGPT's own loop on the same text and recipe."""

    checkout: str
    compiled: bool
    losses: LossComparison
    seconds: Spread
    """of one of its steps"""
    tokens_per_second: float


@dataclass(frozen=True)
class Bench:
    """One run's costs on one machine."""

    version: int
    run: str
    config: dict[str, Any]
    machine: dict[str, Any]
    parameters: int
    training_flops_per_token: int
    ceiling: Ceiling
    steps: list[StepCost]
    left_out: list[str]
    """what could not be measured, and why"""
    parts: list[Part]
    start_up: StartUp
    ranks: list[RankCost]
    against: Against | None

    @property
    def whole_run(self) -> float:
        """Seconds of the whole run of one seed, by the medians."""
        apart = sum(part.seconds.median * part.times for part in self.parts if not part.name.startswith("probe "))
        return self.start_up.seconds.median + self.config["train"]["steps"] * self.steps[0].seconds.median + apart

    def __str__(self) -> str:
        machine = self.machine
        where = machine["gpu"] or machine["cpu"]
        steps = self.config["train"]["steps"]
        lines = [
            f"{self.run}: {self.parameters:,} parameters, {self.training_flops_per_token:,} training FLOPs a token",
            f"on {where}, torch {machine['torch']}, {machine['threads']} threads, {self.ceiling.precision}",
            f"ceiling {self.ceiling.flops_per_second / 1e9:,.1f} GFLOP/s: {self.ceiling.kernel} product of square "
            f"matrices, {self.ceiling.size} wide",
            "",
            *_table(["steps", "seeds", "ms a step", "quartiles", "tokens/s", "of ceiling", "over first line",
                     "over nanoGPT", "GPU memory"], map(_cells, self.steps)),
            *(f"left out: {why}" for why in self.left_out),
            "",
            *_table(["besides steps", "ms", "quartiles", "times a run", "of the steps' time"],
                    map(part_cells, self.parts)),
            "",
            f"start-up {self.start_up.seconds.median:.2f} s to the end of the first step ("
            + ", ".join(f"{name} {spread.median:.2f}" for name, spread in self.start_up.stages.items())
            + f"), peak memory {_mebibytes(self.start_up.peak_memory)}",
            f"a whole run of {steps:,} steps: about {self.whole_run:,.0f} s, of which steps "
            f"{steps * self.steps[0].seconds.median / self.whole_run:.0%}",
        ]  # fmt: skip
        if self.ranks:
            lines += ["", *_table(["ranks that share a run", "ms a step", "quartiles", "tokens/s", "side by side",
                                   "speed-up"], map(_rank_cells, self.ranks))]  # fmt: skip
        if self.against:
            lines += [
                f"nanoGPT's own loop{', compiled' if self.against.compiled else ''}: "
                f"{self.against.seconds.median * 1e3:.2f} ms a step, {self.against.tokens_per_second:,.0f} tokens/s",
                str(self.against.losses),
            ]
        return "\n".join(lines)


def _cells(cost: StepCost) -> list[str]:
    return [
        f"{cost.mode}{', strict' if cost.deterministic else ''}",
        str(cost.seeds),
        *_milliseconds(cost.seconds),
        f"{cost.tokens_per_second:,.0f}",
        f"{cost.utilisation:.1%}",
        _times(cost.over_base),
        _times(cost.over_nanogpt),
        "-" if cost.peak_memory is None else _mebibytes(cost.peak_memory),
    ]


def part_cells(part: Part) -> list[str]:
    """A part's line; of a difference of two timings that is lost in their noise the quartiles alone."""
    median, quartiles = _milliseconds(part.seconds)
    if part.seconds.low <= 0:
        return [part.name, "below noise", quartiles, f"{part.times:g}", "-"]
    return [part.name, median, quartiles, f"{part.times:g}", f"{part.share:.2%}"]


def _rank_cells(cost: RankCost) -> list[str]:
    seconds, tokens = _milliseconds(cost.seconds), (cost.tokens_per_second, cost.side_by_side)
    return [str(cost.ranks), *seconds, *(f"{count:,.0f}" for count in tokens), _times(cost.speed_up)]


def _milliseconds(spread: Spread) -> list[str]:
    return [f"{spread.median * 1e3:.2f}", f"{spread.low * 1e3:.2f} to {spread.high * 1e3:.2f}"]


def _times(spread: Spread | None) -> str:
    return "-" if spread is None else f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"


def _table(titles: Sequence[str], rows: Any) -> list[str]:
    """Columns as wide as their widest cell, the first to the left, the others to the right."""
    cells = [list(titles), *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(titles))]
    return [
        "  ".join(cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]  # fmt: skip
