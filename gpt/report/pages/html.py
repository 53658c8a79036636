"""The interactive page of one study: a single file that needs no network, equal for equal records."""

import base64
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any

from gpt.analysis.collect import Results
from gpt.analysis.findings import Findings
from gpt.records.files import utf8
from gpt.records.formatting import MISSING, fixed
from gpt.report.draw.html import page_data
from gpt.report.figures.catalogue import SECTIONS, Drawn, entries_of
from gpt.report.pages.effects import EFFECTS_NOTE, effects_table
from gpt.report.pages.provenance import made_of, rerun_files
from gpt.report.pages.tables import COLUMNS, contrast_notes, p_note, row, text_notes, verdict_sentences, warnings
from gpt.report.pages.tuning import TABLE_NOTE, tuning_notes, tuning_table
from gpt.report.text.effects import design_text, recipe_texts
from gpt.report.text.limitations import limitations
from gpt.report.text.observations import observations
from gpt.report.text.proof import LIMITS, control_text, treatment_texts
from gpt.report.text.tuning import budget_text
from gpt.study.plan import fields_text

SCRIPTS = ("marks.js", "page.js")
"""the page's own, in the order in which they are read"""


def html_page(results: Results, findings: Findings, drawn: Sequence[Drawn]) -> bytes:
    """The whole page."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True, keep_trailing_newline=True)  # fmt: skip
    environment.filters["marked"] = marked
    template = environment.from_string(_own("report.html.jinja"))
    study = findings.study
    names = [setting.label or "all runs" for setting in results.settings]
    labels = [group.label for group in results.settings[0].groups]
    figures, weights = page_data(drawn, labels, names)
    header, contrasts = _contrasts(findings, names)
    shown = {each.entry.name for each in drawn}
    entries = entries_of(results)
    text = template.render(
        findings=findings,
        study=study,
        verdicts=verdict_sentences(findings),
        warnings=warnings(findings),
        header=header,
        contrasts=contrasts,
        notes=[*contrast_notes(findings.contrasts), *text_notes(findings.contrasts)],
        p_note=p_note([findings]),
        variants=labels,
        setting_names=names,
        sections=[(name, [e for e in entries if e.section == name and e.name in shown]) for name in SECTIONS],
        not_drawn=[entry for entry in entries if entry.name not in shown and entry.absent],
        samples=[[[run.sample for run in group.runs] for group in setting.groups] for setting in results.settings],
        runs=list(run_rows(results, findings)),
        made=made_of(findings),
        held=fields_text(study.held),
        control_text=control_text(findings),
        treatment=[treatment_texts(findings, setting) for setting in findings.settings],
        treatment_limits=LIMITS,
        recipes=recipe_texts(study),
        design=design_text(study),
        effects=effects_table(findings),
        effects_note=EFFECTS_NOTE,
        tuning_words=budget_text(findings),
        tuning_table=tuning_table(findings) if findings.tuning else None,
        tuning_notes=[TABLE_NOTE, *tuning_notes(findings)] if findings.tuning else [],
        observations=[observations(study, setting) for setting in findings.settings],
        limitations=limitations(findings),
        files=rerun_files(study),
        style=Markup(_own("page.css")),
        script=Markup("\n".join(_own(name) for name in SCRIPTS)),
        figures=packed(utf8(json.dumps(figures, separators=(",", ":"), allow_nan=False))),
        weights=packed(weights),
        plotly=_plotly(),
    )
    return utf8(text)


def run_rows(results: Results, findings: Findings) -> Iterator[dict[str, Any]]:
    """One row of the table of runs for each planned run, in words."""
    places = findings.study.places
    for index, setting in enumerate(results.settings):
        for group, of_variant in zip(setting.groups, findings.settings[index].variants, strict=True):
            for i, (seed, run) in enumerate(zip(results.study.seeds, group.runs, strict=True)):
                kinds = Counter(event["kind"] for event in run.events)
                yield {
                    "setting": index,
                    "setting_label": setting.label,
                    "label": group.label,
                    "seed": seed,
                    "state": of_variant.outcomes[i] or run.status.state,
                    "failed": of_variant.failed[i] or run.status.state == "failed",
                    "value": fixed(of_variant.scores[i], places) if of_variant.outcomes[i] else MISSING,
                    "steps": f"{run.status.step:,} of {run.status.steps:,}" if run.status.steps else MISSING,
                    "why": run.ending.why if run.ending else run.status.why,
                    "events": ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in sorted(kinds.items())),
                    "fingerprint": run.fingerprint,
                }


def _contrasts(findings: Findings, names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of findings: the verdict early, settings in a column of their own if several."""
    first, *others, last = COLUMNS
    several = len(names) > 1
    rows = []
    for name, setting in zip(names, findings.settings, strict=True):
        for each in setting.contrasts:
            cells = row(each)
            where = [name] if several else []
            rows.append([f"{each.b} vs {each.a}", *where, cells[last], *(cells[column] for column in others)])
    return [first, *(["setting"] if several else []), last, *others], rows


def packed(data: bytes) -> str:
    """Bytes as text that no page can mistake for markup: gzip without a date, then base64.

    At level 5, for 9 takes twice as long and saves one per cent of plotly.
    """
    return base64.b64encode(gzip.compress(data, 5, mtime=0)).decode("ascii")


def marked(text: str) -> Any:
    """A sentence as HTML: everything escaped, what stands between backticks in code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def _own(name: str) -> str:
    return (resources.files("gpt.report.draw") / "page" / name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    """The drawing library, packed, as the plotly package ships it, its licence at the top."""
    return packed((resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes())
