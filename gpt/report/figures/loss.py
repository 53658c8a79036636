"""The figure of the loss: validation, training, and the paired difference of the former while training goes on."""

import numpy as np

from gpt.analysis.collect import Group, SettingResults
from gpt.analysis.run_reader import RunReader
from gpt.records.catalogue import SCALARS
from gpt.records.schema import TEST_LOSS, TRAIN_LOSS, VAL_LOSS
from gpt.report.figures import series
from gpt.report.figures.catalogue import TRAINING, Entry, View
from gpt.report.figures.spec import Axis, Figure, Floats, Level, Mark, Panel, Points, Zone, variant


@Entry("loss", "Loss during training", TRAINING, 10, "Not recorded: no run has finished yet.")
def loss(view: View) -> Figure | None:
    groups = series.drawn_groups(view.setting)
    if not groups:
        return None
    level = next(run.info["data"]["unigram_loss"] for _, g in groups for run in g.runs if run.finished)
    panels = [_curves(view, VAL_LOSS, "validation loss", level), _curves(view, TRAIN_LOSS, "training loss", level)]
    right = ""
    if view.setting_findings.contrasts and (differences := loss_differences(view.setting, _judged(view))):
        judged = _judged(view)
        matters = view.study.metric.name.startswith(f"{judged}.")
        panels.append(_differences(view, differences, view.study.smallest_effect if matters else None))
        right = (
            f" Right: the paired difference of the {SCALARS[judged].title} from `{view.labels[0]}`; below zero, the "
            "variant "
        )
        right += f"is ahead; {view.too_small}." if matters else "is ahead."
    lost = any(run.failed for _, group in groups for run in group.runs)
    return Figure(
        caption=f"Thin lines are single runs, thick ones means; the dashed level is the unigram baseline.{right} "
        f"{series.bands_over(view.setting)} Training losses are averaged over windows of steps, and the axes cut off "
        "the first steps." + (" Dotted lines that end in a cross are failed runs." if lost else ""),
        panels=panels,
    )


def _judged(view: View) -> str:
    """The held-out loss that verdicts read."""
    return TEST_LOSS if view.study.metric.name.startswith(f"{TEST_LOSS}.") else VAL_LOSS


def _curves(view: View, key: str, title: str, level: float) -> Panel:
    marks: list[Mark] = []
    shown = [np.array([level])]
    for index, group in series.drawn_groups(view.setting):
        for seed, run in zip(view.study.seeds, group.runs, strict=True):
            steps, values = _smooth(run, key)
            if not run.finished or not np.isfinite(values).any():
                continue
            shown.append(values)
            marks.append(series.single(steps, values, variant(index), dash="dot" if run.failed else "solid"))
            if run.failed:
                last, words = np.flatnonzero(np.isfinite(values))[-1:], [f"{group.label}, seed {seed} failed"]
                marks.append(
                    Points(x=steps[last], y=values[last], color=variant(index), words=words, size=7, cross=True)
                )
        if (over := series.stacked(group.survivors, key)) is not None:
            ends, means_NS = (
                series.windows(over[0], over[1].T, series.TRAIN_WINDOWS) if key == TRAIN_LOSS else (over[0], over[1].T)
            )
            marks.append(series.banded(ends, means_NS.T, variant(index), group.label))
    marks.append(Level(at=level, label="unigram baseline"))
    return Panel(title=title, x=series.STEPS, y=_cut_first_steps(np.concatenate(shown), level), marks=marks)


def _smooth(run: RunReader, key: str) -> tuple[series.Steps, Floats]:
    steps, values = run.curve(key)
    return series.windows(steps, values, series.TRAIN_WINDOWS) if key == TRAIN_LOSS and len(steps) else (steps, values)


def _cut_first_steps(values: Floats, level: float) -> Axis:
    """An axis that ends a little above the level of the baseline, if the curves get below it."""
    label, bottom, top = "nats per character", float(np.nanmin(values)), float(np.nanmax(values))
    if level - bottom <= 0.1 * (top - bottom):
        return series.linear_axis(label, [values])
    return Axis(label=label, limits=(bottom - 0.04 * (level - bottom), min(top, level + 0.35 * (level - bottom))))


Differences = list[tuple[int, Group, series.Steps, Floats]]


def loss_differences(setting: SettingResults, key: str) -> Differences:
    """Held-out loss of each variant minus the first one's, over the evaluations that all pairs of survivors share.

    Args:
        key: which held-out loss.

    Returns:
        Index and variant, steps (N,), differences (S, N); only of variants that have a pair.
    """
    first, differences = setting.groups[0], []
    for index, group in enumerate(setting.groups[1:], 1):
        rows = []
        for a, b in zip(first.runs, group.runs, strict=True):
            if a in first.survivors and b in group.survivors:
                steps, in_a, in_b = np.intersect1d(a.curve(key)[0], b.curve(key)[0], return_indices=True)
                rows.append((steps, b.curve(key)[1][in_b] - a.curve(key)[1][in_a]))
        if rows:
            shared = min(len(steps) for steps, _ in rows)
            differences.append((index, group, rows[0][0][:shared], np.stack([d[:shared] for _, d in rows])))
    return differences


def _differences(view: View, differences: Differences, smallest_effect: float | None) -> Panel:
    marks: list[Mark] = [Level(at=0, color=variant(0), dash="solid")]
    if smallest_effect is not None:
        marks.append(Zone(low=-smallest_effect, high=smallest_effect))
    for index, group, steps, difference_SN in differences:
        marks += [series.single(steps, difference_N, variant(index)) for difference_N in difference_SN]
        marks.append(series.banded(steps, difference_SN, variant(index), group.label, markers=True))
    y = series.linear_axis("nats per character", [difference_SN for *_, difference_SN in differences], start=0)
    return Panel(title=f"{SCALARS[_judged(view)].title} minus {view.labels[0]}'s", x=series.STEPS, y=y, marks=marks)
