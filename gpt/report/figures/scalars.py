"""The figure of every probe array that is one number at each probed step."""

from gpt.report.figures.catalogue import INSIDE, View, figure
from gpt.report.figures.series import (
    banded,
    bands_over,
    linear_axis,
    log_axis,
    neutral_levels,
    probed,
    recorded,
    steps_axis,
    symlog_axis,
)
from gpt.report.figures.spec import Figure, Mark, Panel, variant


@figure("scalars", "Other measurements over training", INSIDE, 70, "Not recorded: no probe measured a single number.")
def scalars(view: View) -> Figure | None:
    """A panel for each array, a line for each variant's mean."""
    panels, axes = [], {"linear": linear_axis, "log": log_axis, "symlog": symlog_axis}
    for array in recorded(view.setting, ()):
        marks: list[Mark] = []
        drawn = []
        for index, group, steps, values_SN in probed(view.setting, array.name):
            log = array.scale == "log" and bool((values_SN > 0).all())
            marks.append(banded(steps, values_SN, variant(index), group.label, log, markers=True))
            drawn.append(values_SN)
        marks += neutral_levels(view.setting, array)
        title = ", ".join(filter(None, (array.title, array.unit)))
        panels.append(Panel(title=title, x=steps_axis(), y=axes[array.scale]("", drawn), marks=tuple(marks)))
    if not panels:
        return None
    meanings = " ".join(f"{a.title}: {a.meaning}." for a in recorded(view.setting, ()) if a.meaning)
    return Figure(caption=f"At every probed step. {meanings} {bands_over(view.setting)}", panels=tuple(panels))
