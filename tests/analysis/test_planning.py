"""Claims about the pairs that a study needs, against scipy's power and simulation."""

import math

import numpy as np
import pytest
import synthetic
from scipy import stats
from synthetic import Outcome

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect
from gpt.analysis.pilot import study_power
from gpt.analysis.statistics.paired import paired_contrast
from gpt.analysis.statistics.planning import planning
from gpt.analysis.statistics.sign_flips import fewest_pairs
from gpt.analysis.statistics.variance import detectable_sd, seed_power, square_design
from gpt.errors import InputError
from gpt.report.pages.precision import precision_section

PILOT = [0.004, -0.002, 0.009, 0.006, 0.001]


def t_power(n: int, d_z: float, alpha: float) -> float:
    critical = stats.t.isf(alpha / 2, n - 1)
    return float(
        stats.nct.sf(critical, n - 1, d_z * math.sqrt(n)) + stats.nct.cdf(-critical, n - 1, d_z * math.sqrt(n))
    )


@pytest.mark.parametrize("family", [1, 3])
def test_the_pairs_are_the_least_whose_t_test_has_the_power(family):
    found = planning(paired_contrast([0.0] * 5, PILOT, 0.005), 0.005, family)
    assert found.alpha == 0.05 / family
    sd = np.std(PILOT, ddof=1)
    assert found.sd.sd == pytest.approx(sd)
    assert found.sd.high == pytest.approx(sd * math.sqrt(4 / stats.chi2.ppf(0.025, 4)))
    for effect, needed in ((0.005, found.smallest_effect), (np.mean(PILOT), found.observed_effect)):
        assert [each.power for each in needed] == [0.8, 0.9]
        for each in needed:
            assert each.effect == pytest.approx(effect)
            for spread, n in ((found.sd.sd, each.pairs), (found.sd.low, each.low), (found.sd.high, each.high)):
                assert t_power(n, effect / spread, found.alpha) >= each.power or n > 100
                assert n == fewest_pairs(found.alpha) or t_power(n - 1, effect / spread, found.alpha) < each.power


def test_a_pilot_of_one_pair_plans_nothing():
    assert planning(paired_contrast([0.0], [0.1], 0.005), 0.005, 1) is None


def test_the_interval_of_the_pairs_covers_those_of_the_true_spread():
    rng, covered = np.random.default_rng(8), 0
    true = planning(paired_contrast([0.0, 0.0], [-math.sqrt(0.5), math.sqrt(0.5)], 0.6), 0.6, 1)
    assert true.sd.sd == pytest.approx(1.0)
    for _ in range(100):
        found = planning(paired_contrast([0.0] * 6, rng.normal(size=6), 0.6), 0.6, 1).smallest_effect[0]
        covered += found.low <= true.smallest_effect[0].pairs <= found.high
    assert covered >= 87  # of 95 expected, less four standard errors


def test_a_pilot_answers_for_each_contrast(tmp_path):
    def outcome(run):
        return Outcome(2.0 + PILOT[run.seed] * (run.variant is None), probes=False)

    found = study_power(collect(synthetic.write_study(tmp_path, synthetic.study(seeds=5), outcome)))
    (contrast,) = found.contrasts
    assert (contrast.a, contrast.b, contrast.pairs) == ("1.0", "off", 5)
    assert contrast.difference == pytest.approx(np.mean(PILOT))
    text = str(found)
    needed = contrast.planning.smallest_effect
    assert f"0.01 (smallest that matters): {needed[0].pairs} [{needed[0].low}, {needed[0].high}] at 80%" in text


@pytest.mark.parametrize(
    ("metric", "pairs", "said"),
    [
        ("val/loss.min", 5, "counted as 3.3: the spread is of these scores too, not of trained runs alone"),
        ("grad/norm.last", 4, "left out: the spread is of survivors alone"),
    ],
)
def test_a_pilot_with_failed_runs_says_what_they_make_of_its_spread(tmp_path, metric, pairs, said):
    def outcome(run):
        lost = run.seed == 1 and run.variant is None
        how = {"state": "diverged", "nan_at": 25} if lost else {}
        data = {"sha256": synthetic.DATA, "unigram_loss": 3.3, "unigram_losses": {"val/loss": 3.3}}
        return Outcome(2.0 + PILOT[run.seed], norm=1 + PILOT[run.seed], changes={"data": data}, probes=False, **how)

    folder = synthetic.write_study(tmp_path, synthetic.study(seeds=5, metric=metric), outcome)
    power = study_power(collect(folder))
    (contrast,) = power.contrasts
    assert (contrast.pairs, contrast.failed) == (pairs, 1)
    assert f"a run failed in 1 of 5 pairs and is {said}" in str(power)
    assert f"a run failed in 1 of 5 pairs and is {said}." in "\n".join(
        precision_section(build_findings(collect(folder)))
    )


def test_an_unfinished_pilot_and_a_study_of_seeds_are_refused(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda run: Outcome(state="planned"))
    with pytest.raises(InputError, match="no contrast has two pairs yet"):
        study_power(collect(folder))
    planned = synthetic.study("data.order_seed", [0, 1, 2], name="seeds")
    folder = synthetic.write_study(tmp_path / "seeds", planned, lambda run: Outcome(state="planned"))
    with pytest.raises(InputError, match="has no contrasts"):
        study_power(collect(folder))


@pytest.mark.parametrize(("levels", "others"), [(5, 5), (10, 10), (3, 8)])
def test_the_power_of_a_design_is_that_of_its_f_test(levels, others):
    assert seed_power(levels, others, detectable_sd(levels, others)) == pytest.approx(0.8)
    assert seed_power(levels, others, 0.0) == pytest.approx(0.05)


def test_ten_by_ten_seeds_find_half_the_residuals_sd():
    assert square_design(0.5) == 10
    assert seed_power(9, 9, 0.5) < 0.8 <= seed_power(10, 10, 0.5)
