"""Figures of attention weights, character by character: with a choice of head, over training, and by distance."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from gpt.analysis.collect import HEATMAP, Group, RunReader
from gpt.records.run_folder import load_arrays
from gpt.report.figures.catalogue import INSIDE, View, figure
from gpt.report.figures.series import (
    banded,
    bands_over,
    few_steps,
    lacking,
    linear_axis,
    numbered,
    probed,
    runs_of,
    step_words,
)
from gpt.report.figures.spec import (
    MEAN,
    Axis,
    Choice,
    Figure,
    Floats,
    Frame,
    Grid,
    Line,
    Mark,
    Option,
    Panel,
    Pick,
    variant,
)

ABSENT = "Not recorded: no attention weights were kept."
FULL = 0.5
"""attention weight of the darkest colour"""
LEVELS = 254
"""weights are kept to one part in so many"""
STEPS, HEATMAPS = 5, 30
"""at most so many probed steps of a variant's first run to choose from, and about so many of all variants together"""
VISIBLE = {"\n": "↵", " ": "␣", "\t": "→"}
WHAT = "Row: the character that looks; column: the character it looks at; darker is more; the blank half is the future."


@figure("attention", "Attention, character by character", INSIDE, 40, ABSENT)
def attention(view: View) -> Figure | None:
    """A panel for each variant: one run at a few steps, or the mean over runs; one head, or the mean over heads."""
    groups = probed(view.setting, HEATMAP)
    if not groups:
        return None
    few = min(STEPS, max(2, HEATMAPS // sum(len(setting.groups) for setting in view.results.settings)))
    runs = {index: next(run for run in group.shown if HEATMAP in run.probes) for index, group, _, _ in groups}
    seeds = sorted({str(view.study.seeds[group.runs.index(runs[index])]) for index, group, _, _ in groups}, key=int)
    panels, steps = [], set()
    for index, group, probed_steps, weights_SNLHTU in groups:
        one = [
            (step, load_arrays(runs[index].folder.probe_file(step))[HEATMAP])
            for step in few_steps(_kept(runs[index]), few)
        ]
        last = int(probed_steps[-1])
        shown = [("one", *each) for each in one] + [(MEAN, last, weights_SNLHTU[:, -1].mean(axis=0))]
        frames = [
            Frame({"run": run, "step": str(step)}, _grid(weights_LHTU, ("layer", "head")), step_words(step))
            for run, step, weights_LHTU in shown
        ]
        steps |= {step for _, step, _ in shown}
        panels.append(
            _panel(group, index, f"{group.label}, {group.shown_runs}", Pick(tuple(frames)), weights_SNLHTU.shape[-1])
        )
    shapes = {group.label: v.shape[2:4] for _, group, _, v in groups}
    layers, heads = ({label: numbered(what, [shape[i]]) for label, shape in shapes.items()}
                     for i, what in enumerate(("layer", "head")))  # fmt: skip
    return Figure(
        caption=f"{WHAT} On the first characters of the validation text. The page holds the weights of one run of each "
        f"variant at a few steps, and the mean over {runs_of(view.setting)} at the last, each weight to 1/{LEVELS}; "
        f"the small maps are all heads, layers down and heads across, which are not matched between runs or variants."
        f"{lacking(layers)}{lacking(heads)}",
        panels=tuple(panels),
        choices=(
            Choice(name="run", label="Run", default=MEAN,
                   options=(Option("one", f"seed {' / '.join(seeds)}"), Option(MEAN, "mean over runs"))),
            Choice(name="step", label="Step", options=tuple(Option(str(s), f"{s:,}") for s in sorted(steps)),
                   default=str(max(steps)), ordered=True),
            _places("layer", layers.values()),
            _places("head", heads.values()),
        ),
        columns=min(len(panels), 3),
    )  # fmt: skip


def _places(name: str, names: Iterable[Sequence[str]]) -> Choice:
    longest = max(names, key=len)
    options = [Option(MEAN, "mean of all"), *(Option(str(i), words) for i, words in enumerate(longest))]
    return Choice(name=name, label=name.capitalize(), options=tuple(options), default=MEAN)


def _kept(run: RunReader) -> list[int]:
    """The steps whose heatmaps a run has."""
    return [step for step in run.folder.probe_steps() if HEATMAP in load_arrays(run.folder.probe_file(step))]


def _past(weights: Floats) -> Floats:
    """The weights, to one part in LEVELS, with the future, which causal attention cannot see, left blank."""
    size = weights.shape[-1]
    levels = np.rint(LEVELS * np.clip(np.nan_to_num(np.asarray(weights, dtype=np.float64)), 0, 1)) / LEVELS
    return np.where(np.tri(size, dtype=bool), levels, np.nan)


def _grid(weights: Floats, by: tuple[str, ...] = ()) -> Grid:
    return Grid(values=_past(weights), title="attention weight", high=FULL, by=by)


def _panel(group: Group, index: int, title: str, mark: Mark, size: int, named: bool = True) -> Panel:
    text = group.shown[0].info["probe_text"]
    ticks = tuple((float(i), VISIBLE.get(character, character)) for i, character in enumerate(text)) if named else ()
    looked_at, looks = ("character looked at", "character that looks") if named else ("", "")
    return Panel(
        title=title,
        x=Axis(label=looked_at, limits=(-0.5, size - 0.5), ticks=ticks[:size], named=True),
        y=Axis(label=looks, limits=(size - 0.5, -0.5), ticks=ticks[:size], named=True),
        marks=(mark,),
        variant=index,
        closest=True,
        square=True,
    )


@figure("attention-over-training", "How attention takes its shape", INSIDE, 50,
        "Not recorded: attention weights were not kept at several steps.")  # fmt: skip
def attention_over_training(view: View) -> Figure | None:
    """Mean over layers, heads and runs: a row for each variant, a column for each kept step."""
    groups = probed(view.setting, HEATMAP)
    columns = max((len(steps) for _, _, steps, _ in groups), default=0)
    if columns < 2:
        return None
    panels = []
    for index, group, steps, weights_SNLHTU in groups:
        row = [
            _panel(group, index, f"{group.label}, {step_words(int(step))}", _grid(mean_TU), len(mean_TU), named=False)
            for step, mean_TU in zip(steps, weights_SNLHTU.mean(axis=(0, 2, 3), dtype=np.float64), strict=True)
        ]
        panels += row + [replace(row[0], title=f"{group.label}, not probed", marks=())] * (columns - len(row))
    return Figure(
        caption=f"The same text and colours before training, early, and at the end: mean over {runs_of(view.setting)}, "
        "all heads and all layers.",
        panels=tuple(panels),
        columns=columns,
    )


@figure("distance", "How far back attention looks", INSIDE, 60,
        "Not recorded: no attention weights of several characters were kept.")  # fmt: skip
def distance(view: View) -> Figure | None:
    """Mean attention weight by how many characters back it goes, layer by layer."""
    groups = [each for each in probed(view.setting, HEATMAP) if each[3].shape[-1] > 1]
    if not groups:
        return None
    by_layer: dict[str, list[Line]] = {}
    drawn = []
    for index, group, _, weights_SNLHTU in groups:
        weights_SLTU = weights_SNLHTU[:, -1].mean(axis=2)
        size = weights_SLTU.shape[-1]
        back, at = np.arange(size // 2), np.arange(size // 2, size)
        by_distance = np.stack([weights_SLTU[:, :, at, at - d].mean(axis=2) for d in back], axis=2)
        drawn.append(by_distance)
        for layer in range(by_distance.shape[1]):
            line = banded(back, by_distance[:, layer], variant(index), group.label)
            by_layer.setdefault(f"layer {layer}", []).append(line)
    y = linear_axis(
        "mean attention weight",
        drawn,
        start=0,
    )
    layers = {group.label: numbered("layer", [v.shape[2]]) for _, group, _, v in groups}
    return Figure(
        caption="Mean weight that a position gives to the character so many places back, 0 being itself, on the first "
        f"characters of the validation text at step {max(int(steps[-1]) for _, _, steps, _ in groups)}, for the later "
        f"half of them. {bands_over(view.setting)}{lacking(layers)}",
        panels=tuple(
            Panel(title=name, x=Axis(label="characters back"), y=y, marks=tuple(lines))
            for name, lines in by_layer.items()
        ),
    )
