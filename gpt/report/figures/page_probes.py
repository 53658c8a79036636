"""What the interactive page draws of the probes' arrays: activations, attention, the use of context.

Every function takes one setting of a study; it gives None where no run recorded what it needs. Shapes: S seed, N probed
step, D place in the depth, L layer, H head, T position, U key position.
"""

import math
from collections.abc import Sequence

import numpy as np

from gpt.analysis.collect import HEATMAP, RunReader, SettingResults
from gpt.analysis.context_use import median_lookback
from gpt.records.run_folder import load_arrays
from gpt.records.schema import ENTROPY_COLLAPSE
from gpt.report.draw.png import Floats
from gpt.report.figures.by_depth import probed, update_ratios
from gpt.report.figures.page_series import Json, layered, mean_band, rounded

ACTIVATIONS = ("residual_rms", "residual_max", "residual_kurtosis", "dead_share")
GEOMETRIC = ("residual_rms", "residual_max")
"""sizes, whose means are geometric wherever all are above 0"""
ATTENTION = (
    "attention_entropy",
    "attention_distance",
    "attention_previous",
    "attention_first",
    "attention_induction",
    "attention_logit_max",
)
HEATMAP_STEPS, HEATMAPS = 5, 30
"""at most so many probed steps whose heatmaps a page holds of a variant's first run, and about so many of all its runs
and steps together; of the mean over runs it holds the last step"""
ALONE, TOGETHER = 8, 4
"""positions of a window whose losses are drawn one by one, and how many of the later ones are averaged"""
LEVELS = 255
"""a weight of 1 in a heatmap's bytes"""


def activations(setting: SettingResults) -> dict[str, list[Json]] | None:
    """Of each statistic, by variant: its mean over seeds at every probed step and depth."""
    found: dict[str, list[Json]] = {}
    for name in ACTIVATIONS:
        for index, group, steps, values_SND in probed(setting, name):
            log = name in GEOMETRIC and bool((values_SND > 0).all())
            curve = {"steps": steps.tolist(), **mean_band(values_SND, log)}
            found.setdefault(name, []).append({"variant": index, "runs": group.shown_runs, **curve})
    return found or None


def updates(setting: SettingResults) -> list[Json] | None:
    """Norm of one step's change of each layer over the norm of its weights, at the probed steps."""
    return layered(update_ratios(setting))


def attention(setting: SettingResults) -> dict[str, list[Json]] | None:
    """Of each measure, by variant: each layer's mean over heads with its band over seeds, every head of the first run
    that is shown, and every head of every run at the last probed step; heads of different runs are not matched."""
    found: dict[str, list[Json]] = {}
    for name in ATTENTION:
        for index, group, steps, values_SNLH in probed(setting, name):
            found.setdefault(name, []).append(
                {
                    "variant": index,
                    "runs": group.shown_runs,
                    "steps": steps.tolist(),
                    "layers": mean_band(values_SNLH.mean(axis=3)),
                    "heads": rounded(values_SNLH[0], 3),
                    "last": rounded(values_SNLH[:, -1], 3),
                }
            )
    return found or None


def collapses(setting: SettingResults, seeds: Sequence[int]) -> list[Json]:
    """Every recorded collapse of attention's entropy."""
    return [
        {"variant": index, "seed": seed, "step": event["step"], "layer": event.get("layer")}
        for index, group in enumerate(setting.groups)
        for seed, run in zip(seeds, group.runs, strict=True)
        for event in run.events
        if event["kind"] == ENTROPY_COLLAPSE
    ]


class Weights:
    """The heatmaps' weights, one byte each, one after the other; of a square only what is not the future."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def add(self, weights_LHTU: Floats) -> int:
        """Where the array begins."""
        start = len(self.bytes)
        size = weights_LHTU.shape[-1]
        rows, columns = np.tril_indices(size)
        past = np.nan_to_num(np.asarray(weights_LHTU, dtype=np.float64)[..., rows, columns])
        self.bytes += np.rint(LEVELS * np.clip(past, 0, 1)).astype(np.uint8).tobytes()
        return start


def heatmaps(setting: SettingResults, seeds: Sequence[int], weights: Weights, few: int) -> Json | None:
    """Where in `weights` the attention of each variant lies: of its first shown run at a few steps, and the mean over
    its shown runs at the last step."""
    variants = []
    for index, group, steps, weights_SNLHTU in probed(setting, HEATMAP):
        first = next(run for run in group.shown if HEATMAP in run.probes)
        shown = spread(_steps_with_heatmap(first), few)
        one = [(step, weights.add(load_arrays(first.folder.probe_file(step))[HEATMAP])) for step in shown]
        mean = [(int(steps[-1]), weights.add(weights_SNLHTU[:, -1].mean(axis=0)))]
        _, _, layers, heads, size, _ = weights_SNLHTU.shape
        variants.append(
            {
                "variant": index,
                "seed": seeds[group.runs.index(first)],
                "runs": group.shown_runs,
                "layers": layers,
                "heads": heads,
                "size": size,
                "text": first.info["probe_text"][:size],
                "one": [{"step": step, "at": at} for step, at in one],
                "mean": [{"step": step, "at": at} for step, at in mean],
            }
        )
    return {"levels": LEVELS, "variants": variants} if variants else None


def _steps_with_heatmap(run: RunReader) -> list[int]:
    return [step for step in run.folder.probe_steps() if HEATMAP in load_arrays(run.folder.probe_file(step))]


def heatmap_steps(groups: int) -> int:
    """How many steps a page holds of each of so many variants in settings."""
    return min(HEATMAP_STEPS, max(2, HEATMAPS // groups))


def spread(steps: Sequence[int], few: int) -> list[int]:
    """So few of the steps, the first and the last among them, closer together early, where attention takes shape."""
    places = np.unique(np.rint(np.geomspace(1, len(steps), min(few, len(steps)))).astype(int) - 1)
    return [steps[place] for place in places]


def long_range(setting: SettingResults) -> list[Json] | None:
    """Loss by position, loss by length of context, and the gradient's dependence on the past, by variant."""
    found = []
    for index, group in enumerate(setting.groups):
        arrays = [run.long_range for run in group.survivors if run.long_range is not None]
        if not arrays:
            continue
        by_position, loss, dependency = (
            np.stack([each[name] for each in arrays]) for name in ("loss_by_position", "context_loss", "dependency")
        )
        at, position_means = by_few_positions(by_position)
        total = dependency.sum(axis=1, keepdims=True)
        shares = dependency / np.where(total > 0, total, np.nan)
        halves = [half for row in dependency if math.isfinite(half := median_lookback(row))]
        found.append(
            {
                "variant": index,
                "runs": len(arrays),
                "beyond": by_position.shape[1],
                "positions": {"x": rounded(at), **mean_band(position_means)},
                "lengths": arrays[0]["context_lengths"].astype(int).tolist(),
                "context": mean_band(loss),
                "dependency": mean_band(shares, log=bool((shares > 0).all())),
                "halves": rounded(halves),
                "half": float(np.mean(halves)) if halves else None,
            }
        )
    return found or None


def by_few_positions(loss_SX: Floats) -> tuple[Floats, Floats]:
    """Losses at the first positions one by one, then means over few: each position alone tells most of its characters.

    Returns:
        Positions, counted from 1, and losses (S, windows).
    """
    positions = loss_SX.shape[1]
    starts = np.array([*range(min(ALONE, positions)), *range(ALONE, positions, TOGETHER)])
    sizes = np.diff(np.append(starts, positions))
    return starts + (sizes + 1) / 2, np.add.reduceat(loss_SX, starts, axis=1) / sizes
