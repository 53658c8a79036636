"""The figure of a study of several factors: whether lines run side by side."""

import itertools
import math
from collections.abc import Mapping

import numpy as np

from gpt.analysis.findings import SettingFindings
from gpt.records.formatting import fixed
from gpt.report.figures.catalogue import METRIC, Entry, View
from gpt.report.figures.series import beside, linear_axis, named_axis, scattered
from gpt.report.figures.spec import Bars, Figure, Line, Mark, Panel, Points, variant
from gpt.report.text.effects import effect_sentence
from gpt.study.plan import fields_text, label
from gpt.study.spec import Scalar


@Entry("interaction", "Several factors together", METRIC, 8, "", True, ("contrasts",))
def interaction(view: View) -> Figure | None:
    """A panel for each further factor and combination of the rest: its values across, a line for each variant."""
    study = view.study
    if not study.factors or not view.findings.runs.finished:
        return None
    panels = []
    for across in study.factors[1:]:
        rest = {key: values for key, values in study.settings.items() if key != across}
        for values in itertools.product(*rest.values()):
            held = dict(zip(rest, values, strict=True))
            settings = [each for each in view.findings.settings if held.items() <= each.setting.items()]
            panels.append(_panel(view, across, held, settings))
    said = [effect_sentence(each, study.metric) for each in view.findings.effects if each.kind == "interaction"]
    return Figure(
        caption=f"{' '.join(said)} Where one factor's effect does not depend on the other, lines run side by side. "
        "Small marks are single runs, bars the 95 % t intervals of the means over seeds.",
        panels=panels,
        columns=2,
        height=3.0,
    )


def _panel(view: View, across: str, held: Mapping[str, Scalar], settings: list[SettingFindings]) -> Panel:
    marks: list[Mark] = []
    shown = []
    for index, name in enumerate(view.labels):
        color, here = variant(index), [setting.variants[index] for setting in settings]
        at = np.arange(len(here)) + beside(index, len(view.labels), room=0.3)
        for place, of in zip(at, here, strict=True):
            values = [value for value in of.values if math.isfinite(value)]
            words = [f"{name}: {fixed(value, view.study.places)}" for value in values]
            marks.append(Points(x=scattered(place, len(values), 0.08), y=values, color=color, words=words, size=3.5,
                                opacity=0.45))  # fmt: skip
            shown.append([*values, of.mean.low, of.mean.high])
        means = [of.mean for of in here]
        marks.append(Bars(at=at, low=[m.low for m in means], high=[m.high for m in means], color=color, width=4,
                          opacity=0.5))  # fmt: skip
        marks.append(Line(x=at, y=[m.mean for m in means], color=color, label=name, markers=True))
    varied = {key: value for key, value in held.items() if len(view.study.settings[key]) > 1}
    names = [label(setting.setting[across]) for setting in settings]
    return Panel(
        title=fields_text(varied),
        x=named_axis(names, across),
        y=linear_axis(view.metric_label, shown),
        marks=marks,
        closest=True,
    )
