"""Figures of attention weights, character by character: with a choice of head, over training, and by distance."""

from dataclasses import dataclass, replace

import numpy as np

from gpt.analysis.collect import Group
from gpt.records.catalogue import Array
from gpt.records.run_folder import load_arrays
from gpt.report.figures import series
from gpt.report.figures.catalogue import INSIDE, Entry, View
from gpt.report.figures.spec import MEAN, Axis, Choice, Figure, Floats, Frame, Grid, Line, Mark, Panel, Pick, variant

HEATMAP = ("layer", "head", "position", "key")
"""axes of attention weights, and of what a probe of one's own has like them; values between 0 and 1"""
FULL = 0.5
"""attention weight of the darkest colour"""
LEVELS = 254
"""weights are kept to one part in so many"""
STEPS, HEATMAPS = 5, 30
"""at most so many probed steps of a variant's first run to choose from, and about so many of all variants together"""
VISIBLE = {"\n": "↵", " ": "␣", "\t": "→"}


@Entry("attention", "Attention, character by character", INSIDE, 40, "Not recorded: no attention weights were kept.")
def attention(view: View) -> Figure | None:
    """A panel for each variant: one run at a few steps, or the mean over runs; one head, or the mean over heads."""
    arrays = series.recorded(view.setting, HEATMAP)
    if not arrays:
        return None
    shown = [_frames(view, array) for array in arrays]
    panels = [panel for each in shown for panel in each.panels]
    every = [(str(step), f"{step:,}") for step in sorted(set().union(*(each.steps for each in shown)))]
    seeds = sorted(set().union(*(each.seeds for each in shown)))
    runs = [("one", f"seed {' / '.join(map(str, seeds))}"), (MEAN, "mean over runs")]
    parts = [
        Choice(
            name=what, options=[(MEAN, "mean of all"), *((str(i), f"{what} {i}") for i in range(count))], default=MEAN
        )
        for what, count in zip(("layer", "head"), np.max([each.shape for each in shown], axis=0), strict=True)
    ]
    return Figure(
        caption="Row: the character that looks; column: the character it looks at; darker is more; the blank half is "
        "the future. On the first characters of the validation text. The page holds the weights of one run of each "
        f"variant at a few steps, and the mean over {series.runs_of(view.setting)} at the last, each weight to "
        f"1/{LEVELS}; the small maps are all heads, layers down and heads across, which are not matched between runs "
        f"or variants.{series.lacking_heads(view.setting, arrays[0].name)}",
        panels=panels,
        choices=[
            *series.several(arrays),
            Choice(name="run", options=runs, default=MEAN),
            Choice(name="step", options=every, default=every[-1][0], ordered=True),
            *parts,
        ],
        columns=min(len(shown[0].panels), 3),
    )


@dataclass
class Shown:
    """The panels of one array, and what their frames are of."""

    panels: list[Panel]
    steps: set[int]
    seeds: set[int]
    shape: Floats
    """most layers and heads"""


def _frames(view: View, array: Array) -> Shown:
    few = min(STEPS, max(2, HEATMAPS // sum(len(setting.groups) for setting in view.results.settings)))
    shown = Shown([], set(), set(), np.zeros(2, dtype=int))
    for index, group, mean_steps, weights_SNLHTU in series.probed(view.setting, array.name):
        first = next(run for run in group.shown if array.name in run.probes)
        kept = [(step, arrays[array.name]) for step in first.folder.probe_steps()
                if array.name in (arrays := load_arrays(first.folder.probe_file(step)))]  # fmt: skip
        few_kept = series.few_steps([step for step, _ in kept], few)
        of = [("one", step, weights) for step, weights in kept if step in few_kept]
        of.append((MEAN, int(mean_steps[-1]), weights_SNLHTU[:, -1].mean(axis=0)))
        frames = [
            Frame({"run": run, "step": str(step)}, _grid(array, w, ("layer", "head")), series.step_words(step))
            for run, step, w in of
        ]
        title = f"{group.label}, {group.shown_runs}"
        shown.panels.append(_panel(array, group, index, title, Pick(frames), weights_SNLHTU.shape[-1]))
        shown.steps |= {step for _, step, _ in of}
        shown.seeds.add(view.study.seeds[group.runs.index(first)])
        shown.shape = np.maximum(shown.shape, weights_SNLHTU.shape[2:4])
    return shown


def _grid(array: Array, weights: Floats, by: tuple[str, ...] = ()) -> Grid:
    """The weights, to one part in LEVELS, with the future, which causal attention cannot see, left blank."""
    levels = np.rint(LEVELS * np.clip(np.nan_to_num(np.asarray(weights, dtype=np.float64)), 0, 1)) / LEVELS
    past = np.where(np.tri(weights.shape[-1], dtype=bool), levels, np.nan)
    return Grid(values=past, title=array.unit or array.title, high=FULL, by=by)


def _panel(array: Array, group: Group, index: int, title: str, mark: Mark, size: int, named: bool = True) -> Panel:
    text = group.shown[0].info["probe_text"][:size] if named else ""
    ticks = [(float(i), VISIBLE.get(character, character)) for i, character in enumerate(text)]
    looked_at, looks = ("character looked at", "character that looks") if named else ("", "")
    return Panel(
        title=title,
        x=Axis(label=looked_at, limits=(-0.5, size - 0.5), ticks=ticks, named=True),
        y=Axis(label=looks, limits=(size - 0.5, -0.5), ticks=ticks, named=True),
        marks=[mark],
        when={"measure": array.name},
        variant=index,
        closest=True,
        square=True,
    )


@Entry("attention-over-training", "How attention takes its shape", INSIDE, 50,
       "Not recorded: attention weights were not kept at several steps.")  # fmt: skip
def attention_over_training(view: View) -> Figure | None:
    """Mean over layers, heads and runs: a row for each variant, a column for each kept step."""
    arrays = series.recorded(view.setting, HEATMAP)
    measured = [(array, *each) for array in arrays for each in series.probed(view.setting, array.name)]
    columns = max((len(steps) for _, _, _, steps, _ in measured), default=0)
    panels = []
    for array, index, group, steps, weights_SNLHTU in measured:
        means_NTU = weights_SNLHTU.mean(axis=(0, 2, 3), dtype=np.float64)
        row = [
            _panel(array, group, index, f"{group.label}, {series.step_words(int(step))}", _grid(array, mean_TU),
                   len(mean_TU), named=False)
            for step, mean_TU in zip(steps, means_NTU, strict=True)
        ]  # fmt: skip
        panels += row + [replace(row[0], title=f"{group.label}, not probed", marks=())] * (columns - len(row))
    return Figure(
        caption="The same text and colours before training, early, and at the end: mean over "
        f"{series.runs_of(view.setting)}, all heads and all layers.",
        panels=panels,
        choices=series.several(arrays),
        columns=columns,
    ) if columns > 1 else None  # fmt: skip


@Entry("distance", "How far back attention looks", INSIDE, 60,
       "Not recorded: no attention weights of several characters were kept.")  # fmt: skip
def distance(view: View) -> Figure | None:
    """Mean attention weight by how many characters back it goes, layer by layer."""
    arrays = series.recorded(view.setting, HEATMAP)
    panels, last = [], 0
    for array in arrays:
        groups = [each for each in series.probed(view.setting, array.name) if each[3].shape[-1] > 1]
        drawn: list[Floats] = []
        of_layers: list[list[Line]] = [[] for _ in range(max((w.shape[2] for *_, w in groups), default=0))]
        for index, group, steps, weights_SNLHTU in groups:
            weights_SLTU = weights_SNLHTU[:, -1].mean(axis=2)
            size = weights_SLTU.shape[-1]
            back, at = np.arange(size // 2), np.arange(size // 2, size)
            drawn.append(np.stack([weights_SLTU[:, :, at, at - d].mean(axis=2) for d in back], axis=2))
            for layer in range(drawn[-1].shape[1]):
                of_layers[layer].append(series.banded(back, drawn[-1][:, layer], variant(index), group.label))
            last = max(last, int(steps[-1]))
        y = series.linear_axis(f"mean {array.unit or array.title}", drawn, start=0)
        panels += [
            Panel(title=name, x=Axis(label="characters back"), y=y, marks=lines, when={"measure": array.name})
            for name, lines in zip(series.numbered("layer", len(of_layers)), of_layers, strict=True)
        ]
    return Figure(
        caption="Mean weight that a position gives to the character so many places back, 0 being itself, on the first "
        f"characters of the validation text at step {last}, for the later half of them. "
        f"{series.bands_over(view.setting)}{series.lacking_heads(view.setting, arrays[0].name)}",
        panels=panels,
        choices=series.several(arrays),
    ) if panels else None  # fmt: skip
