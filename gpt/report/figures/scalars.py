"""The figure of every probe array that is one number at each probed step."""

from gpt.report.figures import series
from gpt.report.figures.catalogue import INSIDE, Entry, View
from gpt.report.figures.spec import Figure, Mark, Panel, variant


@Entry("scalars", "Other measurements over training", INSIDE, 70, "")
def scalars(view: View) -> Figure | None:
    """A panel for each array, a line for each variant's mean."""
    panels, arrays = [], series.recorded(view.setting, ())
    for array in arrays:
        measured = series.probed(view.setting, array.name)
        marks: list[Mark] = [*series.neutral_levels(view.setting, array)]
        for index, group, steps, values_SN in measured:
            log = array.scale == "log" and bool((values_SN > 0).all())
            marks.append(series.banded(steps, values_SN, variant(index), group.label, log, markers=True))
        y = series.array_axis(array, [values_SN for *_, values_SN in measured])
        panels.append(Panel(title=array.title, x=series.STEPS, y=y, marks=marks))
    meanings = series.sentence("; ".join(f"{array.title}: {array.meaning}" for array in arrays if array.meaning))
    caption = f"At every probed step. {meanings} {series.bands_over(view.setting)}"
    return Figure(caption=caption, panels=panels) if panels else None
