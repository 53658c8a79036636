import math

import pytest
import synthetic
from synthetic import Outcome

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect

RATES = {"optim.lr": [1e-3, 3e-3, 1e-2]}


def found(tmp_path, outcome, **study):
    folder = synthetic.write_study(tmp_path, synthetic.study(**study), outcome)
    return build_findings(collect(folder)).rate_sensitivity


def outcome(run):
    """With a limit, losses of 2.0, 1.7 and 1.8; without, the largest rate is lost and the untrained model has 4.0."""
    rate = dict(run.setting)["optim.lr"]
    loss = {1e-3: 2.0, 3e-3: 1.7, 1e-2: 1.8}[rate] + run.seed / 100
    if run.variant is None and rate == 1e-2:
        return Outcome(last_loss=2.0, state="diverged", why="left", nan_at=15)
    return Outcome(last_loss=loss)


def test_it_is_the_mean_rise_over_the_best_rate_and_a_lost_run_counts_as_untrained(tmp_path):
    result = found(tmp_path, outcome, settings=RATES)
    clipped, free = result.variants
    assert clipped.values == pytest.approx([(0.3 + 0 + 0.1) / 3] * 3)
    assert free.values == pytest.approx([(2.0 + 1.7 + 4.0) / 3 + 2 * s / 300 - 1.7 - s / 100 for s in range(3)])
    (contrast,) = result.contrasts
    assert (contrast.b, contrast.n) == ("off", 3)
    assert contrast.mean == pytest.approx(free.mean.mean - clipped.mean.mean)


def test_a_loss_above_the_untrained_models_counts_as_that(tmp_path):
    def rising(run):
        large = dict(run.setting)["optim.lr"] == 1e-2
        return Outcome(last_loss=3.0 if large else 1.0, state="diverged" if large else "done", why="learned_nothing")

    (first, _) = found(tmp_path, rising, settings=RATES).variants
    assert first.values == pytest.approx([(1.0 + 1.0 + 3.0) / 3 - 1.0] * 3)


def test_a_seed_counts_once_it_has_finished_at_every_rate(tmp_path):
    def unfinished(run):
        last = run.seed == 2 and dict(run.setting)["optim.lr"] == 1e-2
        return Outcome(state="planned") if last else outcome(run)

    (first, _) = found(tmp_path, unfinished, settings=RATES).variants
    assert math.isnan(first.values[2])
    assert first.mean.n == 2


@pytest.mark.parametrize(
    "settings",
    [{}, {"optim.lr": [1e-3]}, {"optim.weight_decay": [0.0, 0.1]}, {**RATES, "optim.weight_decay": [0.0, 0.1]}],
)
def test_it_needs_several_learning_rates_and_nothing_else(tmp_path, settings):
    assert found(tmp_path, lambda run: Outcome(), settings=settings) is None
