"""The page of one study, in Markdown: the answer first, then what it rests on."""

import html
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gpt.analysis.findings import Findings, StudyFindings
from gpt.analysis.mean_difference import MeanDifference
from gpt.analysis.statistics.contrasts import ALPHA
from gpt.analysis.statistics.means import MeanInterval
from gpt.analysis.variant_findings import VariantFindings
from gpt.records.formatting import MISSING, count, fixed, percent, short, signed
from gpt.report.pages.effects import effects_section, recipes_lines
from gpt.report.pages.markup import fenced, held, plain, table
from gpt.report.pages.noise_scale import noise_section
from gpt.report.pages.precision import precision_section
from gpt.report.pages.provenance import made
from gpt.report.pages.seed_variance import crossed_section
from gpt.report.pages.tables import COLUMNS, contrast_notes, row, text_notes, verdict_sentences, warnings
from gpt.report.pages.tuning import tuning_section
from gpt.report.text.limitations import limitations
from gpt.report.text.observations import observations
from gpt.report.text.precision import look_words
from gpt.report.text.proof import LIMITS, control_text, treatment_texts
from gpt.report.text.seed_variance import decomposed


@dataclass(frozen=True)
class RunLinks:
    """How a page leads to the runs behind its numbers."""

    link: Callable[[str, str], str]
    """(text, fingerprint) -> the text, linked to the run if it can be"""
    note: str
    """sentence under the table of values"""


BESIDE = "To look into it yourself, open [report.html](report.html) in a browser: one file, no network needed."


def page(
    findings: Findings,
    samples: Mapping[str, str],
    links: RunLinks,
) -> str:
    """The whole page.

    Args:
        samples: text by variant and setting, of the study's first seed.
    """
    study = findings.study
    sections = [
        [f"# {study.name}", "", f"**{plain(study.question)}**", *held(study), *recipes_lines(findings), "", BESIDE],
        _answer(findings),
        _table(findings),
        effects_section(findings),
        precision_section(findings),
        tuning_section(findings),
        crossed_section(findings),
        _seeds(findings, links),
        _proof(findings),
        _dynamics(findings),
        noise_section(findings),
        _figures(findings, many=len(findings.settings) > 1),
        _samples(samples, study),
        made(findings),
        ["## Limitations", "", *(f"- {text}" for text in limitations(findings))],
    ]
    return "\n".join(line for section in sections if section for line in [*section, ""]).rstrip() + "\n"


def _answer(findings: Findings) -> list[str]:
    lines = ["## Answer", ""]
    for warning in warnings(findings):
        lines += [f"> **{plain(warning)}**", ""]
    if not findings.complete:
        done = f"{findings.runs.finished} of {findings.runs.planned} runs have finished"
        lines += [f"> **Incomplete: {done}.** What follows rests on those alone.", ""]
    if words := look_words(findings):
        lines += [f"{words}.", ""]
    return [*lines, *(f"- **{verdict}**: {text}" for verdict, text in verdict_sentences(findings))]


def _table(findings: Findings) -> list[str]:
    if not findings.contrasts:
        return []
    study, metric = findings.study, findings.study.metric
    first = findings.compared_with
    effect = f"{study.smallest_effect:g} {metric.unit}"
    exact = all(j.paired.sign_flip_exact for j in findings.contrasts)
    flips = "exact sign-flip test" if exact else "sign-flip test (random flips above 20 pairs)"
    family = f"Holm's correction over the {count(findings.family, 'primary contrast')} of this study"
    if study.looks:
        family += " and that for its looks"
    better = {True: "lower is better", False: "higher is better", None: "neither direction is better"}
    return [
        "## Findings",
        "",
        *table(COLUMNS, [list(row(each).values()) for each in findings.contrasts]),
        "",
        *(f"{plain(note)}\n" for note in (*contrast_notes(findings.contrasts), *text_notes(findings.contrasts))),
        f"- **Metric**, named before the run: {metric.title} (`{metric.name}`: {metric.meaning}), in "
        f"{metric.unit}; {better[metric.lower_is_better]}. The **smallest difference that matters** was set to "
        f"{effect}.",
        f"- **difference**: mean over seeds of (variant minus {first}), each seed being a pair that draws from "
        f"the same random streams; with its 95 % t interval. **d_z**: that mean over its standard deviation. **pair "
        f"correlation**: how much pairing helped (near 0, it did not).",
        *(_over_text() if any(each.over_text for each in findings.contrasts) else []),
        f"- **corrected p**: {flips} of the differences, after {family}; where the metric gives failed runs "
        f"no score, the sign test with failure as the worst outcome. It is corrected at {ALPHA:g}.",
        f"- **P(better)**: share of seeds in which the variant does better than {first}, ties counted half. "
        f"**failed**: runs of the variant / of {first}. **detectable**: the true difference that this many pairs, "
        f"with this spread, find with a power of 80 % in a paired t test before correction; the exact test, corrected, "
        f"needs more.",
        "- **verdict**: *different*, the corrected test says so; *equivalent*, two one-sided tests place the "
        "difference within the smallest one that matters; *inconclusive*, neither, which is no evidence of equality.",
    ]


def _over_text() -> list[str]:
    return [
        "- **over text**: the table's interval says how far the difference would move with other seeds, this one how "
        "far with other text of the kind: a moving-block bootstrap over test windows of the difference averaged over "
        "seeds. A difference that only one of the two keeps clear of zero may be luck of the other."
    ]


def _seeds(findings: Findings, links: RunLinks) -> list[str]:
    study = findings.study
    places = study.places
    lines = ["## Every seed", ""]
    for setting in findings.settings:
        variants = setting.variants
        if setting.label:
            lines += [f"### {setting.label}", ""]
        of = {variant.label: variant for variant in variants}
        pairs = [(of[contrast.a], of[contrast.b]) for contrast in setting.contrasts]
        header = ["seed", *(f"{v.label}" for v in variants), *(f"{b.label} - {a.label}" for a, b in pairs)]
        rows = [
            [
                str(seed),
                *(_value(variant, i, places, links) for variant in variants),
                *(signed(_difference(a, b, i), places) for a, b in pairs),
            ]
            for i, seed in enumerate(study.seeds)
        ]
        means = [_mean_sd(v.mean, places) for v in variants]
        of_differences = [signed(c.paired.mean_difference, places) for c in setting.contrasts]
        rows.append(["mean (sd)", *means, *of_differences])
        lines += [*table(header, rows), ""]
        for variant in variants:
            lines += [
                f"- seed {seed} of `{variant.label}` failed: {why}"
                for seed, why in zip(study.seeds, variant.why, strict=True)
                if why
            ]
    if lines[-1]:
        lines.append("")
    what = f"{study.metric.title.capitalize()}, {study.metric.unit}"
    if decomposed(findings):
        what = f"Rows: `seed`; columns: `{study.factor}`. {what}"
    return [*lines, f"{what}; a run that failed counts as the loss beside it, if any. {links.note}"]


def _value(variant: VariantFindings, i: int, places: int, links: RunLinks) -> str:
    """A seed's value, or what became of its run, linked to the run's folder."""
    text = fixed(variant.scores[i], places) if variant.outcomes[i] else variant.states[i]
    if variant.failed[i]:
        text = f"**{variant.outcomes[i]}**" + (f" ({text})" if math.isfinite(variant.scores[i]) else "")
    return links.link(text, variant.runs[i]) if variant.begun[i] else text


def _difference(a: VariantFindings, b: VariantFindings, i: int) -> float:
    return b.scores[i] - a.scores[i]


def _mean_sd(mean: MeanInterval, places: int) -> str:
    return f"{fixed(mean.mean, places)} ({fixed(mean.sd, places)})" if mean.n > 1 else fixed(mean.mean, places)


def _proof(findings: Findings) -> list[str]:
    marks = {True: "yes", False: "**NO**", None: "not known yet"}
    control = findings.control
    lines = [
        "## Was it a controlled comparison?",
        "",
        f"**Nothing but the factor differs: {marks[control.holds]}.** {control_text(findings)}",
    ]
    for setting in findings.settings:
        treatment = setting.treatment
        lines += ["", f"**The factor acted{setting.at}: {marks[treatment.holds]}.**", ""]
        lines += [f"- {text}" for text in treatment_texts(findings, setting)]
        if treatment.holds is not None:
            lines += ["", LIMITS]
    return lines


def _dynamics(findings: Findings) -> list[str]:
    if decomposed(findings):
        return []
    lines = ["## What else the records show", "", "Described, not tested: none of this was named before the run."]
    for setting in findings.settings:
        if setting.label:
            lines += ["", f"### {setting.label}"]
        lines += ["", *(f"- {text}" for text in observations(findings.study, setting)), ""]
        variants = setting.variants
        header = ["", *(v.label for v in variants), *(f"{c.b} - {c.a}" for c in setting.contrasts)]
        rows = []
        for entry in findings.secondary:
            show, show_difference = (percent, _points) if entry.is_share else (short, short)
            means = [_with_interval(v.secondary[entry.name].mean, show) for v in variants]
            differences = [_with_interval(c.secondary[entry.name], show_difference) for c in setting.contrasts]
            rows.append([f"{entry.meaning} ({entry.unit})", *means, *differences])
        lines += [*table(header, rows), ""]
    return [*lines, "Means over the runs that did not fail, with 95 % t intervals, not corrected for their number."]


def _with_interval(mean: MeanInterval | MeanDifference, show: Callable[[float], str]) -> str:
    text = show(mean.mean)
    return text if math.isnan(mean.low) else f"{text} [{show(mean.low)}, {show(mean.high)}]"


def _points(share: float) -> str:
    return f"{100 * share:.1f} points" if math.isfinite(share) else MISSING


def _figures(findings: Findings, many: bool) -> list[str]:
    lines = ["## Figures"]
    if not findings.figures and not findings.left_out_figures:
        return [*lines, "", "None yet: no run has finished."]
    setting = ""
    for figure in findings.figures:
        if many and figure.setting != setting:
            setting = figure.setting
            lines += ["", f"### Figures at {setting}"]
        title = f"{figure.title}, {figure.setting}" if many and figure.setting else figure.title
        heading = "####" if many and figure.setting else "###"
        lines += ["", f"{heading} {figure.title}", "", f"![{title}](figures/{figure.file})", "", figure.caption]
    for left_out in findings.left_out_figures:
        where = f", {plain(left_out.setting)}" if left_out.setting else ""
        lines += ["", f"**Left out by an error:** {left_out.title}{where} (`{left_out.name}`): {plain(left_out.error)}"]
    return lines


def _samples(samples: Mapping[str, str], study: StudyFindings) -> list[str]:
    if not samples:
        return []
    lines = [
        "## Samples",
        "",
        f"Text written by the model of the first seed ({study.seeds[0]}) with the lowest validation loss, the same "
        f"random numbers for every variant. One sample shows what such text looks like; it is no evidence.",
    ]
    lines += ["", "<table>", f"<tr>{''.join(f'<th>{html.escape(label)}</th>' for label in samples)}</tr>", "<tr>"]
    for text in samples.values():
        lines += ['<td valign="top">', "", *fenced(text), "", "</td>"]
    return [*lines, "</tr>", "</table>"]
