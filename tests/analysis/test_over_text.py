"""Claims about the interval over text."""

from pathlib import Path

import numpy as np
import pytest
from synthetic import BASE, Outcome, study, write_study

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect
from gpt.analysis.findings import Findings
from gpt.analysis.statistics.over_text import DRAWS, FEWEST_WINDOWS, SEED, block_length, over_text
from gpt.config import RunConfig
from gpt.errors import InputError
from gpt.report.pages.tables import text_notes
from gpt.study.plan import PlannedRun
from gpt.yaml_file import parse

COVERED = (0.9, 0.98)
"""share of 95 % intervals that may hold the truth, where neighbours are correlated and windows are many"""


def naive(values: list[float]) -> tuple[float, float]:
    """The same interval, window by window."""
    count, block = len(values), block_length(len(values))
    blocks = -(-count // block)
    starts = np.random.default_rng(SEED).integers(0, count - block + 1, size=(DRAWS, blocks))
    means = []
    for row in starts.tolist():
        drawn = [values[start + i] for start in row for i in range(block)][:count]
        means.append(sum(drawn) / count)
    low, high = np.quantile(np.array(means) - np.mean(means), [0.025, 0.975]) + np.mean(values)
    return float(low), float(high)


@pytest.mark.parametrize("count", [20, 27, 50])
def test_it_is_the_bootstrap_of_blocks_done_window_by_window(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count).tolist()
    found = over_text(values)
    assert found is not None
    assert (found.windows, found.block) == (count, {20: 3, 27: 3, 50: 4}[count])
    assert (found.low, found.high) == pytest.approx(naive(values), abs=1e-12)
    assert found == over_text(values)


def test_it_covers_the_truth_where_neighbours_are_alike() -> None:
    """Autocorrelation of 0.5 from window to window, which an interval of single windows takes for precision."""
    draw = np.random.default_rng(3)
    held, of_singles, tries, count = 0, 0, 150, 400
    for _ in range(tries):
        noise_N = draw.normal(size=count + 50)
        for i in range(1, len(noise_N)):
            noise_N[i] += 0.5 * noise_N[i - 1]
        values_N = noise_N[50:]
        found = over_text(values_N)
        assert found is not None
        held += found.low <= 0 <= found.high
        of_singles += abs(values_N.mean()) <= 1.96 * values_N.std(ddof=1) / count**0.5
    assert COVERED[0] <= held / tries <= COVERED[1]
    assert of_singles / tries < COVERED[0] - 0.1


def test_few_windows_have_no_interval_and_equal_ones_no_width() -> None:
    assert over_text([0.1] * (FEWEST_WINDOWS - 1)) is None
    found = over_text([0.5] * 40)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.5, 0.5), abs=1e-12)
    with pytest.raises(InputError, match="confidence"):
        over_text([0.1] * 40, confidence=1.5)


WINDOWS = 30


def windows_of(run: PlannedRun) -> list[float]:
    """Losses that differ between variants by text and by seed."""
    wave = [0.02 * (i % 7) for i in range(WINDOWS)]
    return [2.0 + run.seed / 10 + (0.05 + 0.01 * run.seed + w if run.variant is None else 0) for w in wave]


def judged(folder: Path, metric: str, lost: int | None = None) -> Findings:
    base = parse(RunConfig, {**BASE, "data": {**BASE["data"], "test_share": 0.5}}, "base").model_dump(mode="json")

    def outcome(run: PlannedRun) -> Outcome:
        fell = {"state": "diverged", "why": "nan", "nan_at": 30} if run.seed == lost and run.variant is None else {}
        return Outcome(2.0, test_windows=windows_of(run), **fell)

    return build_findings(collect(write_study(folder, study(base=base, metric=metric), outcome)))


@pytest.mark.parametrize("metric", ["test/loss.at_best_val", "test/loss.last"])
def test_a_contrast_has_it_of_the_difference_averaged_over_its_seeds(metric: str, tmp_path: Path) -> None:
    (contrast,) = judged(tmp_path, metric).contrasts
    of_windows = [0.05 + 0.01 + 0.02 * (i % 7) for i in range(WINDOWS)]  # seeds 0, 1 and 2
    assert contrast.paired.mean_difference == pytest.approx(np.mean(of_windows), abs=1e-6)
    assert (contrast.over_text.low, contrast.over_text.high) == pytest.approx(naive(of_windows), abs=1e-6)
    (note,) = text_notes([contrast])
    assert note.startswith("off vs 1.0, over text: [+0.1")
    assert "30 test windows drawn in blocks of 4" in note


def test_a_seed_that_fell_in_one_variant_is_left_out_of_both(tmp_path: Path) -> None:
    (contrast,) = judged(tmp_path, "test/loss.last", lost=2).contrasts
    of_windows = [0.05 + 0.005 + 0.02 * (i % 7) for i in range(WINDOWS)]
    assert (contrast.over_text.low, contrast.over_text.high) == pytest.approx(naive(of_windows), abs=1e-6)


def test_where_no_window_was_kept_there_is_none(tmp_path: Path) -> None:
    (contrast,) = judged(tmp_path, "train/loss.last").contrasts
    assert contrast.over_text is None
    assert text_notes([contrast]) == []
