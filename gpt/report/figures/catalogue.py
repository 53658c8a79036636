"""Every figure of a report. A file of this folder adds one: a function from findings to a spec, under an `Entry`."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gpt.analysis.collect import Results, SettingResults
from gpt.analysis.findings import Findings, SettingFindings, StudyFindings
from gpt.errors import what_failed
from gpt.records.formatting import slug
from gpt.report.figures.spec import Figure

METRIC, TRAINING, INSIDE, CONTEXT = SECTIONS = ("The metric", "Training", "Inside the model", "Use of context")
"""of a page, in order"""


@dataclass(frozen=True)
class View:
    """What a figure is made of: a study, and one of its settings."""

    results: Results
    findings: Findings
    index: int = 0
    """of the setting"""

    @property
    def study(self) -> StudyFindings:
        return self.findings.study

    @property
    def setting(self) -> SettingResults:
        return self.results.settings[self.index]

    @property
    def setting_findings(self) -> SettingFindings:
        return self.findings.settings[self.index]

    @property
    def labels(self) -> list[str]:
        return [group.label for group in self.setting.groups]

    @property
    def metric_label(self) -> str:
        return f"{self.study.metric.title},\n{self.study.metric.unit}"

    @property
    def too_small(self) -> str:
        effect = f"{self.study.smallest_effect:g} {self.study.metric.unit}"
        return f"in the grey zone differences are too small to matter ({effect})"


Make = Callable[[View], Figure | None]


@dataclass(frozen=True)
class Entry:
    """A kind of figure, and a decorator of the function that makes it; None where there is nothing to draw."""

    name: str
    title: str
    section: str
    order: int
    """within the section"""
    absent: str
    """why a setting may have none; the page leaves a figure out that says nothing"""
    whole_study: bool = False
    """it shows all settings"""
    kinds: tuple[str, ...] = ("contrasts", "components")
    """the kinds of studies that have it"""

    def __call__(self, make: Make) -> Make:
        ENTRIES[self] = make
        return make


ENTRIES: dict[Entry, Make] = {}


@dataclass(frozen=True)
class Drawn:
    """One figure of a report, or why an error left it out."""

    entry: Entry
    index: int | None
    """of the setting that it shows; None where it shows all"""
    label: str
    """of that setting; empty where there is one"""
    figure: Figure | None
    error: str = ""

    @property
    def file(self) -> str:
        """Name in the folder of figures."""
        return f"{slug(self.label)}-{self.entry.name}.png" if self.label else f"{self.entry.name}.png"


@cache
def entries() -> list[Entry]:
    """Those of every file of this folder, in the order of a report."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"{__package__}.{module.name}")
    return sorted(ENTRIES, key=lambda entry: (SECTIONS.index(entry.section), entry.order))


def entries_of(results: Results) -> list[Entry]:
    """Those that a study of its kind may have."""
    return [entry for entry in entries() if results.study.kind in entry.kinds]


def draw_all(results: Results, findings: Findings) -> list[Drawn]:
    """Every figure that the finished runs give something to, and every one that failed; setting by setting."""
    views = [View(results, findings, index) for index in range(len(results.settings))]
    kept = entries_of(results)
    figures = [_drawn(entry, views[0], None) for entry in kept if entry.whole_study]
    figures += [_drawn(entry, view, view.index) for view in views for entry in kept if not entry.whole_study]
    return [drawn for drawn in figures if drawn.figure or drawn.error]


def _drawn(entry: Entry, view: View, index: int | None) -> Drawn:
    label = "" if index is None else view.setting.label
    try:
        return Drawn(entry, index, label, ENTRIES[entry](view))
    except Exception as error:  # one figure's fault must cost neither the findings nor the other figures
        return Drawn(entry, index, label, None, what_failed(error))
