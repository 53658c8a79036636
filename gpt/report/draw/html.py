"""What the script of the interactive page draws: every figure's spec as JSON, the weights of its grids as bytes."""

from collections.abc import Sequence

from gpt.report.draw.encoding import BLANK, LEVELS, Json, encoded
from gpt.report.figures.catalogue import Drawn
from gpt.report.figures.spec import BLUE_RED, COLORS, DEPTH, SHADES

PALETTE = {
    "colors": COLORS,
    "symbols": ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x"),
    "depth": DEPTH,
    "shades": SHADES,
    "dark_shades": ((0, "#1b1430"), (0.25, "#5c187a"), (0.5, "#b73779"), (0.75, "#fc8961"), (1, "#fcfdbf")),
    "blue_red": BLUE_RED,
    "levels": LEVELS,
    "blank": BLANK,
}
"""plotly's names of the markers of `gpt.report.draw.png`, and colours as there"""


def page_data(drawn: Sequence[Drawn], labels: Sequence[str], settings: Sequence[str]) -> tuple[Json, bytes]:
    """The data of all figures, and one byte for each number of the grids whose values are shares.

    Args:
        labels: of the variants.
        settings: names.
    """
    weights = bytearray()
    figures: dict[str, dict[str, Json]] = {}
    for each in drawn:
        shown = encoded(each.figure, weights) if each.figure else {"error": each.error}
        figures.setdefault(each.entry.name, {})["all" if each.index is None else str(each.index)] = shown
    data = {
        "palette": encoded(PALETTE, weights),
        "variants": list(labels),
        "settings": list(settings),
        "figures": figures,
    }
    return data, bytes(weights)
