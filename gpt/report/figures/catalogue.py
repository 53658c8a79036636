"""Which figures a report has: those of the whole study first, then those of each setting."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from matplotlib.figure import Figure

from gpt.analysis.collect import Results
from gpt.analysis.findings import Findings, SettingFindings, StudyFindings
from gpt.records.formatting import listed, slug
from gpt.report.draw.png import panel_rows, png
from gpt.report.figures import paired, training
from gpt.report.figures import seed_variance as spread
from gpt.report.figures import setting_figures as setting_figures
from gpt.report.figures.sensitivity import sensitivity, strips
from gpt.report.figures.survival import anything_diverged, survival


@dataclass(frozen=True)
class Drawn:
    """One figure of a report."""

    name: str
    """what it shows, the same in every setting and study"""
    file: str
    """name in the folder of figures"""
    setting: str
    """label of the setting that it shows; empty where it shows all"""
    title: str
    caption: str
    """what to see, and over how many runs"""
    png: bytes


def draw_all(results: Results, findings: Findings) -> list[Drawn]:
    """Every figure that the finished runs give something to."""
    if not findings.runs.finished:
        return []
    compares = any(found.contrasts for found in findings.settings)
    drawn = [drawing("", *figure) for figure in _of_study(findings)] if compares else []
    for setting, found in zip(results.settings, findings.settings, strict=True):
        if not training.drawn_groups(setting):
            continue
        study, context = findings.study, results.study.base.model.context
        if found.components:
            drawn += [drawing(setting.label, *figure) for figure in spread.figures(found, found.components, study)]
            continue
        if found.contrasts:
            drawn.append(drawing(setting.label, *_paired(found, study)))
        drawn += [drawing(setting.label, *figure) for figure in setting_figures.figures(setting, found, study, context)]
    return drawn


def drawing(setting: str, name: str, title: str, caption: str, draw: Callable[[Figure], None], height: float) -> Drawn:
    """Draw one figure.

    Args:
        draw: draws on an empty figure of README width.
        height: inches.
    """
    prefix = f"{slug(setting)}-" if setting else ""
    return Drawn(name, f"{prefix}{name}.png", setting, title, caption, png(draw, height))


def _of_study(findings: Findings) -> Iterator[setting_figures.Plan]:
    study, settings = findings.study, findings.settings
    first = settings[0].variants[0].label
    if rows := strips(settings):
        effect = f"{study.smallest_effect:g} {study.metric.unit}"
        differences = (
            f" Right: the paired difference from `{first}`, small marks for single seeds, large ones and bars for the "
            f"mean and its 95 % t interval; a mark with a white middle speaks of the pairs that survived alone; the "
            f"grey zone holds differences too small to matter ({effect})."
        )
        yield (
            "sensitivity",
            f"The primary metric over {listed([f'`{field}`' for field in dict.fromkeys(r.field for r in rows)])}",
            "Small marks are single runs, lines join the means over runs that did not diverge, bars are their 95 % "
            "t intervals. Runs that diverged stand in the strip at the top, with their number."
            + (differences if any(setting.contrasts for setting in settings) else ""),
            lambda figure: sensitivity(figure, findings),
            0.6 + 3.0 * len(rows),
        )
    if anything_diverged(findings):
        yield (
            "survival",
            "When runs diverged",
            "Share of the runs that have not diverged, step by step; a cross is a divergence. A run that ends no "
            "better than a model that knows only how frequent each character is counts as lost at its last step.",
            lambda figure: survival(figure, findings),
            0.6 + 2.3 * panel_rows(len(settings)),
        )


def _paired(found: SettingFindings, study: StudyFindings) -> setting_figures.Plan:
    variants = found.variants
    effect = f"{study.smallest_effect:g} {study.metric.unit}"
    return (
        "paired",
        "The primary metric, seed by seed",
        f"Left: each grey line joins the runs of one seed; short bars are means. Right: the difference from "
        f"`{variants[0].label}`, small marks for single seeds, the large mark and bar for the mean and its 95 % t "
        f"interval; the grey zone holds differences too small to matter ({effect}). n = "
        f"{', '.join(str(len(c.seeds)) for c in found.contrasts)} pairs.",
        lambda figure: paired.paired(figure, found, study),
        3.0 + 0.5 * max(0, len(variants) - 2),
    )
