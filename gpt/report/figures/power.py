"""The figure of how many pairs a study like this one needs."""

import numpy as np

from gpt.analysis.statistics.power import power
from gpt.analysis.statistics.sign_flips import fewest_pairs
from gpt.analysis.statistics.variance import Spread
from gpt.records.formatting import count, listed
from gpt.report.figures.catalogue import METRIC, Entry, View
from gpt.report.figures.series import rounded
from gpt.report.figures.spec import Axis, Figure, Floats, Level, Line, Mark, Panel, variant

PAIRS = np.unique(np.geomspace(3, 300, 45).round().astype(int))
"""numbers of pairs that the curves are taken at"""


@Entry("power", "Power against the number of pairs", METRIC, 40,
       "Fewer than two pairs have finished.", kinds=("contrasts",))  # fmt: skip
def power_curves(view: View) -> Figure | None:
    """Solid: the smallest effect, with a band from the interval of the sd. Dashed: the difference that was seen."""
    marks: list[Mark] = []
    level = 0.05
    for contrast in view.setting_findings.contrasts:
        planning = contrast.planning
        if planning is None or not planning.sd.sd > 0:
            continue
        level, color = planning.alpha, variant(view.labels.index(contrast.b))
        low, mid, high = (_curve(contrast.smallest_effect, sd, level) for sd in _ends(planning.sd))
        marks.append(Line(x=PAIRS, y=mid, low=high, high=low, color=color, label=contrast.b, width=2))
        seen = _curve(abs(contrast.paired.mean_difference), planning.sd.sd, level)
        marks.append(Line(x=PAIRS, y=seen, color=color, label=f"{contrast.b}, observed", dash="dash"))
    if not marks:
        return None
    marks += [Level(at=0.8, label="80 %"), Level(at=0.9, label="90 %", dash="dot")]
    marks.append(Level(at=len(view.study.seeds), label=count(len(view.study.seeds), "pair"), upright=True))
    return Figure(
        caption=f"Probability of finding a true difference of {view.study.smallest_effect:g} {view.study.metric.unit}, "
        f"the smallest that matters (dashed: of the size that was seen), by the paired t test at {level:.3g}, the "
        "first step of the correction. Bands: the sd of the differences at the ends of its 95 % interval. n = "
        f"{listed(sorted({str(each.paired.n) for each in view.setting_findings.contrasts}))} pairs.",
        panels=[
            Panel(
                x=Axis(label="pairs of seeds", scale="log", ticks=[(n, str(n)) for n in (3, 5, 10, 20, 50, 100, 300)]),
                y=Axis(label="power", limits=(0.0, 1.02)),
                marks=marks,
            )
        ],
        height=3.0,
    )


def _ends(sd: Spread) -> tuple[float, float, float]:
    return sd.low, sd.sd, sd.high


def _curve(effect: float, sd: float, level: float) -> Floats:
    """Power at each number of pairs; 0 where sign flips cannot reach the level."""
    fewest = fewest_pairs(level)
    return rounded([power(int(n), min(effect / sd, 100.0), level) if n >= fewest else 0.0 for n in PAIRS])
