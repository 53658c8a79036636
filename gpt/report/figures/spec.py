"""A figure as data: panels with axes, and marks in them. What draws it knows marks, and no figure.

Both views, PNG and page, are drawn from the same spec, so that they hold the same numbers. `shown` is what a view
draws: the panels and marks that the reader's choices select, or the default ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from numpy.typing import ArrayLike, NDArray

Floats = NDArray[Any]
Numbers = ArrayLike
"""(N,), of the N places of a mark; what is not finite is a gap"""

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, told apart by colour-blind readers; a variant has the same one in every figure"""
DEPTH = ("#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6dcd59", "#b4de2c")
"""of layers, from the input to the output"""
SHADES = ((0.0, "#fcfdbf"), (0.2, "#fea973"), (0.45, "#e95562"), (0.7, "#872781"), (1.0, "#140e36"))
"""of shares, from none to `Grid.high`"""
BLUE_RED = ((0.0, "#2166ac"), (0.25, "#92c5de"), (0.5, "#f7f7f7"), (0.75, "#f4a582"), (1.0, "#b2182b"))
"""of numbers below and above the middle"""
Dash = Literal["solid", "dash", "dot"]
MEAN = "mean"
"""option of a choice that indexes a grid: the mean over all"""


@dataclass(frozen=True)
class Color:
    """What a mark's colour stands for."""

    role: Literal["variant", "depth", "neutral"]
    index: int = 0
    of: int = 1
    """how many layers there are"""


NEUTRAL = Color("neutral")


def variant(index: int) -> Color:
    return Color("variant", index)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line, with a band around it where it has ends."""

    x: Numbers
    y: Numbers
    color: Color = NEUTRAL
    label: str = ""
    """in the legend, and where the reader points; a line without one is one of many"""
    low: Numbers | None = None
    high: Numbers | None = None
    width: float = 1.6
    """points, as all sizes"""
    opacity: float = 1.0
    dash: Dash = "solid"
    markers: bool = False
    filled: bool = True
    """the markers"""
    stepped: bool = False
    """holds each value until the next"""


@dataclass(frozen=True, kw_only=True)
class Points:
    x: Numbers
    y: Numbers
    color: Color
    label: str = ""
    words: Sequence[str] = ()
    """of each point, where the reader points"""
    size: float = 5.0
    opacity: float = 1.0
    cross: bool = False
    """instead of the variant's marker"""
    filled: bool = True


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Intervals, each at its place on the other axis."""

    at: Numbers
    low: Numbers
    high: Numbers
    color: Color
    width: float
    opacity: float = 1.0
    across: bool = False
    """along the x axis"""


@dataclass(frozen=True, kw_only=True)
class Level:
    """A straight line from edge to edge."""

    at: float
    color: Color = NEUTRAL
    label: str = ""
    upright: bool = False
    dash: Dash = "dash"


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A grey stretch from edge to edge."""

    low: float
    high: float
    label: str = ""
    upright: bool = False


@dataclass(frozen=True, kw_only=True)
class Note:
    text: str
    x: float
    y: float
    color: Color = NEUTRAL
    x_share: bool = False
    """x is a share of the panel's width, not a number on the axis"""
    y_share: bool = False
    align: Literal["left", "center", "right"] = "center"
    """side of the text that is at x"""
    valign: Literal["top", "center", "bottom"] = "center"
    raised: float = 0.0
    bold: bool = False


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Numbers as colours; NaN is blank."""

    values: Floats
    """(rows, columns), with a leading axis for each choice of `by`"""
    title: str
    """of the colours"""
    low: float = 0.0
    high: float = 1.0
    by: tuple[str, ...] = ()
    """names of the choices whose option is an index into a leading axis, or MEAN"""
    words: Sequence[Sequence[str]] = ()
    """in the cells"""
    diverging: bool = False
    """colours tell below from above the middle; else the values are shares between 0 and 1"""
    overview: Floats | None = None
    """what two choices have picked it from, for a small map of each"""


@dataclass(frozen=True)
class Frame:
    when: Mapping[str, str]
    """by name of a choice, the option that selects it"""
    mark: "Mark"
    words: str = ""
    """added to the panel's title"""


@dataclass(frozen=True)
class Pick:
    """One of several marks; of an ordered choice the nearest option before that has one."""

    frames: Sequence[Frame]


Mark = Line | Points | Bars | Level | Zone | Note | Grid | Pick


@dataclass(frozen=True, kw_only=True)
class Axis:
    label: str = ""
    scale: Literal["linear", "log", "symlog"] = "linear"
    """symlog: linear up to 1, logarithmic beyond"""
    limits: tuple[float, float] | None = None
    """ends, the first at the left or the bottom"""
    ticks: Sequence[tuple[float, str]] | None = None
    named: bool = False
    """places rather than numbers: without lines at the ticks"""


@dataclass(frozen=True, kw_only=True)
class Panel:
    x: Axis
    y: Axis
    marks: Sequence[Mark]
    title: str = ""
    when: Mapping[str, str] = field(default_factory=dict)
    """the options that show it, as far as the figure has these choices"""
    variant: int | None = None
    """the only one that it shows"""
    closest: bool = False
    """the reader points at single marks rather than at places on the x axis"""
    square: bool = False


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Something that the reader of the page picks."""

    name: str
    options: Sequence[tuple[str, str]]
    """values and words"""
    default: str
    meanings: Mapping[str, str] = field(default_factory=dict)
    """of an option's value"""
    ordered: bool = False
    """a slider"""


@dataclass(frozen=True, kw_only=True)
class Figure:
    caption: str
    """what to see, and over how many runs"""
    panels: Sequence[Panel]
    choices: Sequence[Choice] = ()
    columns: int | None = None
    """panels side by side where there is room"""
    height: float = 2.6
    """of a panel, inches"""


def shown(figure: Figure, chosen: Mapping[str, str] | None = None) -> list[Panel]:
    """The panels that choices select, without any `Pick`; what `chosen` does not name has its default."""
    chosen = {choice.name: choice.default for choice in figure.choices} | dict(chosen or {})
    order = {c.name: [value for value, _ in c.options] for c in figure.choices if c.ordered}
    panels = []
    for panel in figure.panels:
        if all(chosen.get(name, option) == option for name, option in panel.when.items()):
            frames = [
                _picked(mark, chosen, order) if isinstance(mark, Pick) else Frame({}, mark) for mark in panel.marks
            ]
            marks = tuple(_indexed(frame.mark, chosen) for frame in frames if frame)
            words = [panel.title, *(frame.words for frame in frames if frame)]
            panels.append(replace(panel, title=", ".join(filter(None, words)), marks=marks))
    return panels


def _picked(pick: Pick, chosen: Mapping[str, str], order: Mapping[str, list[str]]) -> Frame | None:
    """The frame of the chosen options; of ordered ones the last that does not come after them, or else the first."""
    frames = [f for f in pick.frames if all(chosen.get(n) == o for n, o in f.when.items() if n not in order)]
    before = [
        f for f in frames if all(o.index(f.when[n]) <= o.index(chosen[n]) for n, o in order.items() if n in f.when)
    ]
    return before[-1] if before else frames[0] if frames else None


def _indexed(mark: Mark, chosen: Mapping[str, str]) -> Mark:
    """A grid's own rows and columns."""
    if not isinstance(mark, Grid):
        return mark
    values = mark.values
    for name in mark.by:
        values = values.mean(axis=0) if chosen[name] == MEAN else values[min(int(chosen[name]), len(values) - 1)]
    return replace(mark, values=values, overview=mark.values if len(mark.by) == 2 else None)
