"""What figures share: curves of several runs with their bands, layers' names and colours, axes, words on runs.

Letters of shapes: S run, N step, L layer, H head.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt.analysis.collect import Group, SettingResults
from gpt.analysis.run_reader import RunReader
from gpt.records.catalogue import Array
from gpt.records.formatting import listed
from gpt.report.figures.spec import Axis, Choice, Color, Floats, Level, Line

Steps = NDArray[np.int64]

DIGITS = 5
"""significant digits of a curve's numbers; those that are read come from the findings, whole"""
TRAIN_WINDOWS = 40
"""windows of steps that noisy curves are averaged over"""
STEPS = Axis(label="step")


def rounded(values: ArrayLike) -> Floats:
    """Numbers to a few significant digits; what is not finite is NaN."""
    numbers = np.array(values, dtype=np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(numbers == 0, 0, np.floor(np.log10(np.abs(numbers))))
    scale = 10.0 ** np.nan_to_num(DIGITS - 1 - size)
    return np.round(numbers * scale) / scale


def band(values_SN: Floats, log: bool = False) -> tuple[Floats, Floats, Floats]:
    """Mean over the first axis with the ends of its 95 % t interval; below two runs the ends are NaN.

    Args:
        log: geometric means, of numbers above 0.
    """
    from scipy import stats

    values_SN, n = np.asarray(values_SN, dtype=np.float64), len(values_SN)
    if log:
        mean, low, high = map(np.exp, band(np.log(values_SN)))
        return mean, low, high
    with np.errstate(invalid="ignore", over="ignore"):  # the arrays of failed runs hold what is not finite
        mean = values_SN.mean(axis=0)
        spread = values_SN.std(axis=0, ddof=1) if n > 1 else np.full_like(mean, np.nan)
        margin = (float(stats.t.isf(0.025, n - 1)) if n > 1 else 1.0) * spread / np.sqrt(n)
        return mean, mean - margin, mean + margin


def curve(x: ArrayLike, ends: Iterable[ArrayLike], color: Color, label: str, **look: Any) -> Line:
    """A mean with its band.

    Args:
        ends: mean, low and high.
    """
    mean, low, high = map(rounded, ends)
    sides: dict[str, Any] = {"low": low, "high": high} if np.isfinite([low, high]).any() else {}
    return Line(x=x, y=mean, color=color, label=label, **sides, **look)


def banded(x: ArrayLike, values_SN: Floats, color: Color, label: str, log: bool = False, **look: Any) -> Line:
    """The mean of several runs with its band."""
    return curve(x, band(values_SN, log), color, label, **look)


def single(x: ArrayLike, y: ArrayLike, color: Color, **look: Any) -> Line:
    """One of many lines."""
    return Line(x=x, y=rounded(y), color=color, **{"width": 0.7, "opacity": 0.5, **look})


def windows(steps: Steps, values: Floats, wanted: int) -> tuple[Steps, Floats]:
    """Means over consecutive windows of steps, about `wanted` of them.

    Args:
        steps: (N,).
        values: (N, ...).

    Returns:
        (M,) last step of each window and (M, ...) means; a part of a window at the end is its own.
    """
    size = max(1, -(-len(steps) // wanted))
    starts = np.arange(0, len(steps), size)
    counts = np.diff(np.append(starts, len(steps)))
    sums = np.add.reduceat(values, starts, axis=0)
    return steps[starts + counts - 1], sums / counts.reshape(-1, *[1] * (values.ndim - 1))


def drawn_groups(setting: SettingResults) -> list[tuple[int, Group]]:
    """Variants with a finished run, each with the index that fixes its colour."""
    return [(i, group) for i, group in enumerate(setting.groups) if any(run.finished for run in group.runs)]


def stacked(runs: Sequence[RunReader], key: str) -> tuple[Steps, Floats] | None:
    """Steps (N,) and values (S, N, ...) of several runs, over the first steps that all have finite values for."""
    curves = [run.curve(key) for run in runs if len(run.curve(key)[0])]
    if not curves:
        return None
    length = min(len(steps) for steps, _ in curves)
    values = np.stack([values[:length] for _, values in curves])
    finite = np.isfinite(values).reshape(len(values), length, -1).all(axis=(0, 2))
    length = length if finite.all() else int(np.argmin(finite))
    return (curves[0][0][:length], values[:, :length]) if length else None


def recorded(setting: SettingResults, *axes: tuple[str, ...]) -> list[Array]:
    """The probe arrays with certain axes that a variant's shown runs all have."""
    return [array for array in setting.arrays.values() if array.axes in axes and probed(setting, array.name)]


def probed(setting: SettingResults, name: str) -> list[tuple[int, Group, Steps, Floats]]:
    """Variants with a shown run that has a probe array: index, variant, steps (N,), values (S, N, ...)."""
    groups = []
    for index, group in enumerate(setting.groups):
        arrays = [run.probes[name] for run in group.shown if name in run.probes]
        if arrays:
            length = min(len(steps) for steps, _ in arrays)
            groups.append((index, group, arrays[0][0][:length], np.stack([values[:length] for _, values in arrays])))
    return groups


def neutral_levels(setting: SettingResults, array: Array) -> list[Level]:
    """What the array would be if nothing special were going on; several levels where contexts differ."""
    levels: dict[int, float] = {}
    for run in [run for group in setting.groups for run in group.shown]:
        if (level := run.array(array.name).neutral) is not None:
            levels[run.info["config"]["model"]["context"]] = level
    if len(set(levels.values())) < 2:
        return [Level(at=level, label=array.neutral_title) for level in set(levels.values())]
    return [Level(at=level, label=f"{array.neutral_title} over {context}") for context, level in sorted(levels.items())]


def measures(arrays: Sequence[Array]) -> Choice:
    options = [(array.name, ", ".join(filter(None, (array.title, unit(array))))) for array in arrays]
    meanings = {array.name: sentence(array.meaning) for array in arrays}
    return Choice(name="measure", options=options, meanings=meanings, default=arrays[0].name)


def several(arrays: Sequence[Array]) -> list[Choice]:
    """The choice of a measure, where there is one."""
    return [measures(arrays)] if len(arrays) > 1 else []


def sentence(text: str) -> str:
    """With a capital and a full stop; nothing of nothing."""
    return f"{text[0].upper()}{text[1:]}." if text else ""


def unit(array: Array) -> str:
    return "%" if array.is_share else array.unit


def names_of_all(names: Iterable[Sequence[str]]) -> list[str]:
    """Every layer that a variant has, once; from the input to the output where the longest list holds the others.

    Args:
        names: each variant's own layers in that order.
    """
    return list(dict.fromkeys(name for each in sorted(names, key=len, reverse=True) for name in each))


def numbered(what: str, count: int) -> list[str]:
    """`layer 0`, `layer 1`, ..."""
    return [f"{what} {i}" for i in range(count)]


def lacking(names: Mapping[str, Sequence[str]]) -> str:
    """` Not in every variant: `1` has no layer 1.`, or nothing.

    Args:
        names: by variant, what it has.
    """
    every = names_of_all(names.values())
    missing = {label: [name for name in every if name not in has] for label, has in names.items()}
    parts = [f"`{label}` has no {listed(without)}" for label, without in missing.items() if without]
    return f" Not in every variant: {'; '.join(parts)}." if parts else ""


def lacking_heads(setting: SettingResults, name: str) -> str:
    """The same of layers and of heads.

    Args:
        name: of an array (L, H, ...).
    """
    shapes = [(group.label, values_SNLH.shape[2:]) for _, group, _, values_SNLH in probed(setting, name)]
    layers = {label: numbered("layer", shape[0]) for label, shape in shapes}
    return lacking(layers) + lacking({label: numbered("head", shape[1]) for label, shape in shapes})


def depth(name: str, names: Sequence[str]) -> Color:
    return Color("depth", names.index(name), len(names))


def few_steps(steps: Sequence[int], few: int) -> list[int]:
    """So few of the steps, the first and the last among them, closer together early, where most happens."""
    places = np.unique(np.rint(np.geomspace(1, len(steps), min(few, len(steps)))).astype(int) - 1)
    return [steps[place] for place in places]


def step_words(step: int) -> str:
    return f"step {step:,}" if step else "before training"


def beside(place: int, count: int, room: float = 0.5) -> float:
    """How far from the middle the mark of one of so many variants is, in units of the axis."""
    return room * ((place + 0.5) / count - 0.5)


def scattered(at: float, count: int, room: float) -> Floats:
    """Places around one place, in a row."""
    return at + room * (np.linspace(-0.5, 0.5, count) if count > 1 else np.zeros(count))


def means_over(setting: SettingResults) -> str:
    """`Means are over 3 runs with `pre` and 2 runs with `post``, and what that leaves out."""
    lost = any(run.failed for group in setting.groups for run in group.runs)
    beside = "; where a variant has runs that did not fail, those that did are left out of its mean" if lost else ""
    return f"Means are over {runs_of(setting)}{beside}"


def bands_over(setting: SettingResults) -> str:
    return f"{means_over(setting)}; bands are 95 % t intervals of the mean."


def runs_of(setting: SettingResults) -> str:
    return listed([f"{group.shown_runs} with `{group.label}`" for group in setting.groups])


def linear_axis(label: str, values: Iterable[ArrayLike], start: float | None = None, room: float = 0.06) -> Axis:
    """A linear axis that holds all values, and `start` near its end."""
    finite = _finite([*values, *([] if start is None else [start])])
    if not len(finite):
        return Axis(label=label)
    low, high = float(finite.min()), float(finite.max())
    margin = room * (high - low) if high > low else 0.1 * abs(high) or 1.0
    return Axis(label=label, limits=(low - (margin / 3 if low == start else margin), high + margin))


def log_axis(label: str, values: Iterable[ArrayLike]) -> Axis:
    """A logarithmic axis that holds all values above 0, its numbers written out, at least two of them."""
    finite = _finite(values)
    if not (finite > 0).any():
        return Axis(label=label)
    low, high = np.log10([finite[finite > 0].min(), finite.max()])
    room = max(0.05, 0.06 * (high - low))
    low, high = low - room, high + room
    marks = (1,) if high - low > 2.5 else (1, 3) if high - low > 1.2 else (1, 2, 5)
    ticks = [float(f"{m}e{k}") for k in range(math.floor(low) - 1, math.ceil(high) + 2) for m in marks]
    ends = (float(10**low), float(10**high))
    if sum(ends[0] <= tick <= ends[1] for tick in ticks) < 2:
        ends = (max(tick for tick in ticks if tick < ends[0]), min(tick for tick in ticks if tick > ends[1]))
    return Axis(label=label, scale="log", limits=ends, ticks=_inside(ticks, ends))


def symlog_axis(label: str, values: Iterable[ArrayLike]) -> Axis:
    """An axis that is linear up to 1 and logarithmic beyond, where outliers send it far."""
    finite = _finite(values)
    ends = (float(min(-0.5, 1.3 * finite.min(initial=0))), float(max(1.0, 1.3 * finite.max(initial=0))))
    sizes = [1.0, 2.0, 5.0, *(m * 10.0**k for k in range(1, 10) for m in (1, 3))]
    ticks = [*(-size for size in reversed(sizes)), 0.0, *sizes]
    return Axis(label=label, scale="symlog", limits=ends, ticks=_inside(ticks, ends))


def array_axis(array: Array, values: Sequence[ArrayLike]) -> Axis:
    """The axis of a probe array; of a share, in per cent, at least from 0 to 1."""
    axis = {"log": log_axis, "symlog": symlog_axis, "linear": linear_axis}[array.scale]
    return axis(unit(array), [*values, *([0.0, 1.0] if array.is_share else [])])


def doubling_axis(label: str, last: int) -> Axis:
    """A logarithmic axis from 1 to so many characters."""
    ticks = [2**k for k in range(max(last, 1).bit_length())]
    every = 1 if len(ticks) <= 8 else 2
    shown = [(float(tick), str(tick) if k % every == 0 else "") for k, tick in enumerate(ticks)]
    return Axis(label=label, scale="log", limits=(0.9, 1.1 * max(last, 1)), ticks=shown)


def named_axis(names: Sequence[str], label: str = "", room: float = 0.5) -> Axis:
    """An axis of places in a row."""
    ticks = [(float(i), name) for i, name in enumerate(names)]
    return Axis(label=label, limits=(-room, len(names) - 1 + room), ticks=ticks, named=True)


def _inside(ticks: Iterable[float], ends: tuple[float, float]) -> list[tuple[float, str]]:
    return [(tick, f"{tick:g}") for tick in ticks if ends[0] <= tick <= ends[1]]


def _finite(values: Iterable[ArrayLike]) -> Floats:
    finite = np.concatenate([np.empty(0), *(np.ravel(np.asarray(each, dtype=np.float64)) for each in values)])
    return finite[np.isfinite(finite)]
