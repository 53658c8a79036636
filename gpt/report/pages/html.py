"""The interactive page of one study: a single file that needs no network, equal for equal records."""

import base64
import gzip
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from gpt.analysis.collect import Results
from gpt.analysis.findings import Findings
from gpt.records.files import jsonable, utf8
from gpt.report.draw.html import page_data, run_rows, setting_names
from gpt.report.pages.provenance import made_of, rerun_files
from gpt.report.pages.tables import CONTRAST_HEADER, contrast_entries, row, tests_note, warnings
from gpt.report.text.limitations import limitations
from gpt.report.text.observations import observations
from gpt.report.text.proof import LIMITS, control_text, treatment_texts
from gpt.report.text.seed_variance import decomposed, spread_sentences, spread_verdict
from gpt.report.text.sentences import sentence
from gpt.study.plan import fields_text

SCRIPTS = ("plots.js", "answer.js", "components.js", "training.js", "layers.js", "heatmaps.js", "start.js")
"""the page's own, in the order in which they are read"""


def html_page(results: Results, findings: Findings) -> bytes:
    """The whole page."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True, keep_trailing_newline=True)  # fmt: skip
    environment.filters["marked"] = marked
    template = environment.from_string(_own("report.html.jinja"))
    data = page_data(results, findings)
    study = findings.study
    names = setting_names(results)
    header, contrasts = _contrasts(findings, names)
    verdicts = [(row(each).verdict, sentence(each, study.metric)) for each in findings.contrasts]
    verdicts += [
        (spread_verdict(found), " ".join(spread_sentences(study, setting, found)))
        for setting, found in decomposed(findings)
    ]
    text = template.render(
        findings=findings,
        study=study,
        verdicts=verdicts,
        warnings=warnings(findings),
        header=header,
        contrasts=contrasts,
        notes=[note for each in findings.contrasts if (note := row(each).note)],
        tests_note=tests_note(findings.contrasts),
        variants=data.figures["variants"],
        setting_names=names,
        runs=list(run_rows(results, findings)),
        made=made_of(findings),
        held=fields_text(study.held),
        control_text=control_text(findings),
        treatment=[treatment_texts(findings, setting) for setting in findings.settings],
        treatment_limits=LIMITS,
        observations=[observations(study, setting) for setting in findings.settings],
        limitations=limitations(findings),
        files=rerun_files(study),
        style=Markup(_own("page.css")),
        script=Markup("\n".join(_own(name) for name in SCRIPTS)),
        figures=packed(utf8(json.dumps(jsonable(data.figures), separators=(",", ":"), allow_nan=False))),
        weights=packed(data.weights),
        plotly=_plotly(),
    )
    return utf8(text)


def _contrasts(findings: Findings, names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of findings: the verdict early, settings in a column of their own if several."""
    settings = [name for name, setting in zip(names, findings.settings, strict=True) for _ in setting.contrasts]
    rows = [list(CONTRAST_HEADER), *(contrast_entries(row(each)) for each in findings.contrasts)]
    first = [["setting"], *([setting] for setting in settings)] if len(names) > 1 else [[] for _ in rows]
    compared = [CONTRAST_HEADER[0], *(f"{each.b} vs {each.a}" for each in findings.contrasts)]
    header, *shown = [
        [what, *where, entries[-1], *entries[1:-1]] for what, where, entries in zip(compared, first, rows, strict=True)
    ]
    return header, shown


def packed(data: bytes) -> str:
    """Bytes as text that no page can mistake for markup: gzip without a date, then base64."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")


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
