"""The figure of the gradient noise scale over training."""

import numpy as np

from gpt.analysis.noise_scale import step_estimates
from gpt.records.formatting import count, listed
from gpt.report.figures.catalogue import TRAINING, Entry, View
from gpt.report.figures.series import band, curve, log_axis, windows
from gpt.report.figures.spec import Axis, Figure, Floats, Level, Mark, Note, Panel, variant

WINDOWS = 12
"""of steps; few, for single steps say little of the noise scale"""


@Entry("noise", "Gradient noise scale during training", TRAINING, 60,
       "Not recorded: probes.noise_scale was off, or no run has finished without failing.")  # fmt: skip
def noise(view: View) -> Figure | None:
    """Bands are made on the inverse, which may reach or cross 0."""
    marks: list[Mark] = []
    scales, over, batches, last = [], [], set(), 0
    for index, group in enumerate(view.setting.groups):
        runs = [each for run in group.survivors if (each := step_estimates(run)) is not None]
        if not runs:
            continue
        ends, grad_square_WS = windows(runs[0].steps, np.stack([run.grad_square for run in runs], 1), WINDOWS)
        _, trace_WS = windows(runs[0].steps, np.stack([run.trace for run in runs], 1), WINDOWS)
        inverse_W, low_W, high_W = band((grad_square_WS / np.where(trace_WS > 0, trace_WS, np.nan)).T)
        scale_W = _turned(inverse_W)
        open_end_W = np.where(np.isfinite(low_W) & ~(low_W > 0), np.inf, _turned(low_W))
        to_W = np.minimum(open_end_W, 100 * scale_W)  # a band without an upper end leaves the axes at the top
        marks.append(curve(ends, (scale_W, _turned(high_W), to_W), variant(index), group.label, markers=True))
        over.append(f"{count(len(runs), 'run')} with `{group.label}`")
        scales.append(scale_W)
        batches.add(runs[0].batch_size)
        last = max(last, *(int(run.steps[-1]) for run in runs))
    if not marks:
        return None
    marks += [Level(at=size, label=f"the batch, {size}") for size in sorted(batches)]
    if not np.isfinite(np.concatenate(scales)).any():
        marks.append(Note(text="not determined in any window of steps", x=0.5, y=0.5, x_share=True, y_share=True))
    held = np.concatenate([*scales, [*batches]])
    y = log_axis("noise scale, sequences", [held / 1.4, held * 1.4])
    return Figure(
        caption="In sequences, on a logarithmic axis: doubling a batch well below it saves nearly half the steps, "
        f"doubling one well above it hardly any. Windows of steps; means over {listed(over)}, with 95 % t intervals, "
        "both taken of the inverse and turned back: a line breaks where the noise scale is not determined, and a band "
        "that leaves the axes at the top may have no upper end.",
        panels=[Panel(x=Axis(label="step", limits=(0, 1.02 * last)), y=y, marks=marks)],
    )


def _turned(inverse: Floats) -> Floats:
    """One over what is above 0; NaN for the rest."""
    return 1 / np.where(inverse > 0, inverse, np.nan)
