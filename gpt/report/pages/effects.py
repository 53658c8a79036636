"""The section of a study's page on several factors, and its lines for a terminal."""

import textwrap
from collections.abc import Sequence

from gpt.analysis.findings import EffectFindings, Findings
from gpt.records.formatting import p_run
from gpt.report.pages.markup import table
from gpt.report.pages.tables import COLUMNS, row
from gpt.report.text.effects import design_text, effect_name, effect_verdict, recipe_texts

SHOWN = tuple(name for name in COLUMNS if name not in ("P(better)", "failed"))
"""columns of the table of effects"""
EFFECTS_NOTE = (
    "A main effect is a factor's difference averaged over the others. An interaction is a difference of differences: "
    "by how much one factor's effect changes with the other. All are corrected together with the findings above, by "
    "Holm's method."
)


def effects_section(findings: Findings) -> list[str]:
    """Empty of a study of one factor."""
    if not findings.effects:
        return []
    return [
        "## Several factors",
        "",
        design_text(findings.study),
        "",
        *table(*effects_table(findings)),
        "",
        EFFECTS_NOTE,
    ]


def effects_table(findings: Findings) -> tuple[tuple[str, ...], list[list[str]]]:
    """Header, and a row for each effect."""
    return SHOWN, [list(_row(effect).values()) for effect in findings.effects]


def _row(effect: EffectFindings) -> dict[str, str]:
    cells = row(effect.contrast)
    cells |= {"comparison": effect_name(effect), "verdict": effect_verdict(effect)}
    return {name: cells[name] for name in SHOWN}


def recipes_lines(findings: Findings) -> list[str]:
    """What the recipes of a study set."""
    texts = [f"- {text}" for text in recipe_texts(findings.study)]
    return ["", "Recipes:", "", *texts] if texts else []


def effects_terminal(studies: Sequence[Findings], width: int) -> list[str]:
    """Each effect with its difference, corrected p and verdict."""
    lines: list[str] = []
    for findings in studies:
        lines += [f"{findings.study.name}: several factors"] if findings.effects else []
        for effect in findings.effects:
            cells = _row(effect)
            numbers = f"{cells['difference']} {cells['95 % interval']}, p {p_run(effect.contrast.p_adjusted)}"
            text = f"{cells['comparison']}: {numbers}, {cells['verdict']}"
            lines += textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="    ")
    return lines
