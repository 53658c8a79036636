"""The page's section on the gradient noise scale; see `gpt.analysis.noise_scale`."""

import math

from gpt.analysis.findings import Findings
from gpt.analysis.variant_findings import NoiseScales, NoiseStretch
from gpt.records.formatting import MISSING, count, listed
from gpt.report.pages.markup import table

UNDETERMINED = "not determined"


def noise_section(findings: Findings) -> list[str]:
    """A table for each setting, and how to read it; nothing where no run recorded what it takes."""
    lines = ["## Gradient noise scale"]
    for setting in findings.settings:
        variants = [(v.label, v.noise_scale) for v in setting.variants if v.noise_scale]
        if not variants:
            continue
        if setting.label:
            lines += ["", f"### {setting.label}"]
        header = ("", *(stretch.name for stretch in variants[0][1].stretches), "batch, in parts", "n")
        lines += ["", *table(header, [_row(label, noise) for label, noise in variants])]
    return [*lines, "", *_notes()] if len(lines) > 1 else []


def _row(label: str, noise: NoiseScales) -> list[str]:
    n = max(stretch.inverse.n for stretch in noise.stretches)
    parts = f"{noise.batch_size}, in {listed([str(count) for count in noise.parts])}"
    return [label, *(_run(stretch, n) for stretch in noise.stretches), parts, str(n)]


def _run(stretch: NoiseStretch, n: int) -> str:
    """`12.3 [10.1, 15.0]`, or how much of it is known; with the number of runs where it is not the row's."""
    scale = stretch.scale
    if stretch.inverse.n == 0:
        return MISSING
    if math.isnan(scale.estimate):
        text = UNDETERMINED if math.isnan(scale.low) else f"{UNDETERMINED}, above {sequences(scale.low)}"
    elif math.isnan(scale.low):
        text = sequences(scale.estimate)
    else:
        high = sequences(scale.high) if math.isfinite(scale.high) else "no bound"
        text = f"{sequences(scale.estimate)} [{sequences(scale.low)}, {high}]"
    return text if stretch.inverse.n == n else f"{text} ({count(stretch.inverse.n, 'run')})"


def sequences(value: float) -> str:
    """Three significant digits, and whole numbers from 100 on."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def _notes() -> list[str]:
    return [
        "The simple noise scale tr(Σ)/|G|², in sequences: G is the true gradient, Σ the covariance of one sequence's "
        "gradient about it, dropout included. Both are estimated without bias from the gradient norms of a batch and "
        "of its equal parts, and averaged over a stretch of steps before they are divided. **How to read it**: as long "
        "as the batch is well below this size, doubling it nearly halves the steps to a given loss, and well above it, "
        "doubling saves hardly any, provided that the learning rate is tuned anew; this predicts the order of "
        "magnitude, not more (McCandlish et al. 2018, arXiv 1812.06162, section 2 and appendix A.1).",
        "",
        "Means over the **n** runs that did not fail, with 95 % t intervals, both taken of the inverse |G|²/tr(Σ), "
        "which every run has, and turned back; a single run has the interval of a jackknife over segments of its "
        f"steps. *no bound*: the inverse may be 0. *{UNDETERMINED}*: |G|² is not estimated above 0, the noise being "
        "too large for this many steps and runs. *all steps* leans towards those with the largest gradients, mostly "
        "the first.",
    ]
