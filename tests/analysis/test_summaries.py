import numpy as np
import pytest
import synthetic
from synthetic import LAYERS, STEPS, Outcome

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect
from gpt.analysis.summaries import LEVELS
from gpt.analysis.variant_findings import EventCount


def variants(tmp_path, outcome, **study):
    folder = synthetic.write_study(tmp_path, synthetic.study(**study), outcome)
    return build_findings(collect(folder)).settings[0].variants


def test_layer_means_are_those_of_the_survivors(tmp_path):
    def outcome(run):
        lost = {"state": "diverged", "why": "learned_nothing"} if run.seed == 2 else {}
        return Outcome(rms=(0.1 + 0.1 * run.seed, 0.4, 0.6), **lost)

    (first, _) = variants(tmp_path, outcome)
    layers = first.arrays
    assert first.layers == LAYERS
    assert layers["residual_rms"].first == pytest.approx([0.15, 0.4, 0.6])
    assert layers["residual_rms"].last == pytest.approx([0.3, 0.8, 1.2])
    assert layers["residual_max"].last == pytest.approx([1.5, 4.0, 6.0])
    assert layers["residual_kurtosis"].last == pytest.approx([-0.2, 1.0, 3.0])
    assert layers["dead_share"].first == pytest.approx([0, 0])
    assert layers["dead_share"].last == pytest.approx([0, 0.1])
    assert layers["attention_entropy"].last == pytest.approx([0.7, 1.1])


def test_heads_are_put_in_order_before_they_are_averaged_for_they_are_not_matched_between_seeds(tmp_path):
    heads = variants(tmp_path, lambda run: Outcome())[0].arrays
    assert np.array(heads["attention_previous"].ranked) == pytest.approx(np.array([[0.3, 0.2], [0.5, 0.4]]))
    assert np.array(heads["attention_first"].ranked) == pytest.approx(np.array([[0.3, 0.25], [0.2, 0.15]]))
    assert np.array(heads["attention_entropy"].ranked) == pytest.approx(np.array([[0.8, 0.6], [1.2, 1.0]]))
    assert np.array(heads["attention_logit_max"].ranked) == pytest.approx(np.array([[4.0, 3.9], [3.8, 3.7]]))


def test_gradient_quantiles_leave_warm_up_out(tmp_path):
    quantiles = variants(tmp_path, lambda run: Outcome(norm=8.0 + run.seed))[0].gradient_quantiles
    assert quantiles.levels == list(LEVELS)
    assert quantiles.first_step == pytest.approx([0.2, 0.1, 0.05, 0])
    assert quantiles.by_layer[0] == pytest.approx([9 / 2] * 5)
    assert quantiles.by_layer[3] == [0] * 5


def test_clipping_is_told_by_quarters_of_the_run(tmp_path):
    assert variants(tmp_path, lambda run: Outcome(scale=0.5))[0].clipped_by_quarter == pytest.approx([0.6, 1, 1, 1])


def test_events_are_counted_by_kind_and_run_and_every_run_has_the_steps_it_survived(tmp_path):
    def outcome(run):
        if run.seed == 0:
            return Outcome(state="diverged", why="left", nan_at=13, spikes=3)
        return Outcome(state="running" if run.seed == 2 else "done", spikes=1, collapses=2)

    first = variants(tmp_path, outcome)[0]
    assert first.events["spike"] == EventCount(4, 2)
    assert first.events["entropy_collapse"] == EventCount(2, 1)
    assert first.events["drift"] == EventCount(0, 0)
    assert first.steps_survived == [13, STEPS, None]


def test_long_range_curves_are_means_with_intervals(tmp_path):
    found = variants(tmp_path, lambda run: Outcome())[0].long_range
    assert (found.n, found.context, found.context_lengths) == (3, 8, [1, 2, 4, 8])
    loss = found.loss_by_position
    assert loss.mean[:8] == pytest.approx(3.01 - 0.1 * np.arange(8), rel=1e-5)
    assert loss.mean[8:] == pytest.approx(2.31 + 0.2 * np.arange(1, 9), rel=1e-5)
    half = 4.302652729749464 * 0.01 / np.sqrt(3)
    assert loss.high[0] - loss.low[0] == pytest.approx(2 * half, rel=1e-3)
    assert found.context_loss.mean == pytest.approx([3.0, 2.5, 2.25, 2.125])
    assert found.cumulative_share.mean[:2] == pytest.approx(
        [(2 / 3.5 + 1 / 4.5) / 3, (3 / 3.5 + 3 / 4.5) / 3], rel=1e-5
    )
    assert found.cumulative_share.mean[-1] == 1


def test_what_was_not_recorded_is_not_there(tmp_path):
    bare = variants(tmp_path / "bare", lambda run: Outcome(probes=False, long_range=False))[0]
    assert (bare.layers, bare.arrays) == (LAYERS, {})
    assert bare.long_range is None
    some = variants(tmp_path / "some", lambda run: Outcome(long_range=run.seed > 0))[0]
    assert some.long_range is None
    none = variants(tmp_path / "none", lambda run: Outcome(state="planned"))[0]
    assert none.gradient_quantiles is none.clipped_by_quarter is none.long_range is None
