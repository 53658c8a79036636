"""Everything that the script of the interactive page draws, gathered from a study's records; pure, plain JSON."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from gpt.analysis.collect import Results, SettingResults
from gpt.analysis.findings import ContrastFindings, Findings, SettingFindings, StudyFindings
from gpt.records.formatting import decimals, fixed, interval, signed
from gpt.records.schema import even_entropy
from gpt.report.draw.png import color
from gpt.report.figures import page_probes, page_series
from gpt.report.figures.gradients import left_out
from gpt.report.figures.page_captions import captions, sensitivity
from gpt.report.figures.page_series import Json
from gpt.report.text.seed_variance import source_names

SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
"""plotly's names of the markers of `gpt.report.draw.png`"""


@dataclass(frozen=True)
class PageData:
    """What a page's script reads."""

    figures: Json
    """everything that is drawn but the heatmaps' weights"""
    weights: bytes
    """those, see `page_probes.heatmaps`"""


def page_data(results: Results, findings: Findings) -> PageData:
    """The data of all figures, setting by setting.

    Args:
        findings: as findings.json has them.
    """
    study, weights = findings.study, page_probes.Weights()
    context = results.study.base.model.context
    figures = {
        "study": {
            "name": study.name,
            "factor": study.factor,
            "metric": study.metric,
            "smallest_effect": study.smallest_effect,
            "places": decimals(study.smallest_effect),
            "context": context,
            "even_entropy": even_entropy(context),
        },
        "seeds": list(results.study.seeds),
        "variants": [
            {"label": group.label, "color": color(i), "symbol": SYMBOLS[i % len(SYMBOLS)]}
            for i, group in enumerate(results.settings[0].groups)
        ],
        "axis": _axis(results),
        "sensitivity": sensitivity(findings, setting_names(results)),
        "settings": [
            _setting(results, setting, found, study, weights)
            for setting, found in zip(results.settings, findings.settings, strict=True)
        ],
    }
    return PageData(figures, bytes(weights.bytes))


def setting_names(results: Results) -> list[str]:
    """What each setting is called where there must be a name."""
    return [setting.label or "all runs" for setting in results.settings]


def _axis(results: Results) -> Json:
    """Where the settings lie on an axis: at the numbers of the one field that differs between them, else in a row."""
    varied = results.study.varied
    values = next(iter(varied.values())) if len(varied) == 1 else ()
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if numbers and len(numbers) == len(values):
        return {"title": next(iter(varied)), "values": numbers, "log": min(numbers) > 0}
    return {"title": "", "values": setting_names(results), "log": None}


def _setting(
    results: Results,
    setting: SettingResults,
    found: SettingFindings,
    study: StudyFindings,
    weights: page_probes.Weights,
) -> Json:
    seeds, groups = results.study.seeds, sum(len(each.groups) for each in results.settings)
    data = {
        "label": setting.label,
        "variants": [
            {
                "runs": group.shown_runs,
                "values": shown.values,
                "states": shown.states,
                "diverged": shown.diverged,
                "mean": shown.mean,
            }
            for group, shown in zip(setting.groups, found.variants, strict=True)
        ],
        "contrasts": [_contrast(results, contrast) for contrast in found.contrasts],
        "components": found.components and {**asdict(found.components), "words": source_names(study, found)},
        "loss": page_series.loss(setting, seeds),
        "gradients": page_series.gradients(setting),
        "left_out": left_out(setting),
        "quantiles": page_series.quantiles(found),
        "clipping": page_series.clipping(setting),
        "updates": page_probes.updates(setting),
        "activations": page_probes.activations(setting),
        "attention": page_probes.attention(setting),
        "collapses": page_probes.collapses(setting, seeds),
        "heatmaps": page_probes.heatmaps(setting, seeds, weights, page_probes.heatmap_steps(groups)),
        "long_range": page_probes.long_range(setting),
        "samples": _samples(setting),
        "depth": next((run.info["layers"] for g in setting.groups for run in g.shown), []),
    }
    return {**data, "captions": captions(data, found, study, results.study.base)}


def _contrast(results: Results, contrast: ContrastFindings) -> Json:
    """A contrast with its numbers as the tables write them."""
    labels = [group.label for group in results.settings[0].groups]
    places, paired = decimals(contrast.smallest_effect), contrast.paired
    ends = interval(paired.low, paired.high, places)
    size = f"{signed(paired.mean_difference, places)} {ends}".removesuffix(" -")
    return {
        "variant": labels.index(contrast.b),
        "a": contrast.a,
        "b": contrast.b,
        "seeds": contrast.seeds,
        "differences": paired.differences,
        "mean": paired.mean_difference,
        "low": paired.low,
        "high": paired.high,
        "among_survivors": contrast.among_survivors,
        "verdict": contrast.verdict,
        "size": size if paired.n else "",
    }


def _samples(setting: SettingResults) -> list[list[str]] | None:
    """By variant and seed, what the best model wrote; empty where nothing."""
    texts = [[run.sample for run in group.runs] for group in setting.groups]
    return texts if any(any(row) for row in texts) else None


def run_rows(results: Results, findings: Findings) -> Iterator[Json]:
    """One row of the table of runs for each planned run, in words."""
    places = decimals(findings.study.smallest_effect)
    settings = {id(setting): i for i, setting in enumerate(results.settings)}
    for setting, group, seed, run in results.places():
        index = settings[id(setting)]
        variant = setting.groups.index(group)
        value = findings.settings[index].variants[variant].values[results.study.seeds.index(seed)]
        kinds = Counter(event["kind"] for event in run.events)
        yield {
            "setting": index,
            "setting_label": setting.label,
            "variant": variant,
            "label": group.label,
            "seed": seed,
            "state": run.status.state,
            "value": fixed(value, places) if run.status.state == "done" else "-",
            "steps": f"{run.status.step:,} of {run.status.steps:,}" if run.status.steps else "-",
            "why": run.status.why,
            "events": ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in sorted(kinds.items())),
            "fingerprint": run.fingerprint,
        }
