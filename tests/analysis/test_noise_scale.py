"""Claims about the gradient noise scale, against gradients drawn with a known mean and covariance."""

import itertools
import json
import math

import numpy as np
import pytest
import synthetic
from scipy import stats
from synthetic import STEPS, Outcome

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect
from gpt.analysis.findings import Findings
from gpt.analysis.noise_scale import (
    SEGMENTS,
    NoiseScale,
    RunNoise,
    StepEstimates,
    jackknife_margin,
    over_runs,
    over_steps,
    per_step,
    step_estimates,
)
from gpt.errors import InputError
from gpt.records.schema import MICRO_BATCH_GRAD_NORM

BATCH = 16
MEAN = np.array([0.6, -0.3, 0.0, 0.2, 0.1])
SPREAD = np.diag([1.0, 2.0, 0.5, 0.1, 0.0]) + 0.2  # its square is the covariance
GRAD_SQUARE, TRACE = float(MEAN @ MEAN), float(np.trace(SPREAD @ SPREAD.T))


def draw(steps, parts, seed=0):
    """Mean gradients (N, P, D) of the parts of each step's batch."""
    z_NBD = np.random.default_rng(seed).normal(size=(steps, BATCH, len(MEAN)))
    sequences_NBD = MEAN + z_NBD @ SPREAD.T
    return sequences_NBD.reshape(steps, parts, BATCH // parts, -1).mean(axis=2)


def estimated(parts_NPD):
    """The estimates from norms alone, as a run records them."""
    steps, parts, _ = parts_NPD.shape
    norm = np.linalg.norm(parts_NPD.mean(axis=1), axis=1)
    part_square = (np.linalg.norm(parts_NPD, axis=2) ** 2).mean(axis=1)
    return per_step(BATCH, norm, np.full(steps, parts), part_square)


def naive(parts_PD):
    """The same from the gradients themselves: mean product of two different parts, and the variance over parts."""
    pairs = list(itertools.permutations(parts_PD, 2))
    grad_square = sum(float(a @ b) for a, b in pairs) / len(pairs)
    return grad_square, BATCH / len(parts_PD) * float(parts_PD.var(axis=0, ddof=1).sum())


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_estimates_from_norms_are_those_from_products_and_variances_of_the_gradients(parts):
    parts_NPD = draw(50, parts)
    expected = np.array([naive(each) for each in parts_NPD])
    np.testing.assert_allclose(np.stack(estimated(parts_NPD), axis=1), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_both_estimates_are_unbiased_for_any_number_of_parts(parts):
    steps = 40_000
    for values, truth in zip(estimated(draw(steps, parts)), (GRAD_SQUARE, TRACE), strict=True):
        assert abs(values.mean() - truth) < 4 * values.std() / math.sqrt(steps)
        assert values.std() / math.sqrt(steps) < 0.02 * truth


def of_steps(grad_square, trace, parts=2):
    count = len(grad_square)
    return StepEstimates(
        np.arange(1, count + 1), np.full(count, parts), np.asarray(grad_square), np.asarray(trace), BATCH, count
    )


def test_the_noise_scale_of_drawn_gradients_is_found_from_steps_whose_parts_change():
    halves = [estimated(draw(20_000, parts, seed=parts)) for parts in (2, 8)]
    run = over_steps(of_steps(*np.concatenate(halves, axis=1)))
    assert run.scale.low < TRACE / GRAD_SQUARE < run.scale.high
    assert run.scale.estimate == pytest.approx(TRACE / GRAD_SQUARE, rel=0.05)


def test_terms_are_averaged_before_they_are_divided_and_ratios_never():
    run = over_steps(of_steps([1.0, -0.5, 0.0, 1.5], [10.0, 20.0, 30.0, 40.0]))
    assert (run.grad_square, run.trace, run.steps) == (0.5, 25.0, 4)
    assert run.scale.estimate == 50
    assert run.inverse == 1 / 50


def test_a_stretch_holds_the_steps_of_its_quarters_and_all_quarters_hold_every_step_once():
    estimates = of_steps(np.arange(1.0, 11), np.ones(10))
    sums = [over_steps(estimates, (q, q + 1)) for q in range(4)]
    assert [run.steps for run in sums] == [2, 3, 2, 3]
    assert [run.grad_square for run in sums] == [1.5, 4.0, 6.5, 9.0]
    assert over_steps(estimates).steps == 10


def test_quarters_are_those_of_the_whole_run_for_a_run_that_ended_early():
    early = StepEstimates(np.arange(1, 7), np.full(6, 2), np.ones(6), np.ones(6), BATCH, 12)
    assert [over_steps(early, (q, q + 1)).steps for q in range(4)] == [3, 3, 0, 0]
    empty = over_steps(early, (3, 4))
    assert np.isnan([empty.inverse, empty.grad_square, *vars(empty.scale).values()]).all()


def leave_one_out_margin(above, below, settings):
    """The textbook jackknife over equal settings."""
    kept = [np.delete(np.arange(len(above)), setting) for setting in np.split(np.arange(len(above)), settings)]
    ratios = np.array([above[k].mean() / below[k].mean() for k in kept])
    return stats.t.isf(0.025, settings - 1) * math.sqrt(
        (settings - 1) / settings * ((ratios - ratios.mean()) ** 2).sum()
    )


@pytest.mark.parametrize(("steps", "settings"), [(10, 2), (40, 8), (400, SEGMENTS)])
def test_with_equal_settings_the_jackknife_is_the_textbooks(steps, settings):
    rng = np.random.default_rng(steps)
    above, below = rng.normal(1, 2, steps), rng.gamma(2, 5, steps)
    assert jackknife_margin(above, below) == pytest.approx(leave_one_out_margin(above, below, settings))


def test_a_stretch_too_short_for_two_settings_has_an_estimate_without_an_interval():
    run = over_steps(of_steps(np.ones(9), np.full(9, 3.0)))
    assert run.scale.estimate == 3
    assert math.isnan(run.scale.low)
    assert math.isnan(run.scale.high)


@pytest.mark.parametrize("steps", [400, 107])
def test_the_interval_of_a_run_covers_the_truth_at_its_confidence(steps):
    runs, truth = 1000, 0.02
    rng = np.random.default_rng(3)
    above, below = rng.normal(1, 2, (runs, steps)), rng.gamma(2, 25, (runs, steps))
    covered = [
        abs(a.mean() / b.mean() - truth) <= jackknife_margin(a, b) for a, b in zip(above, below, strict=True)
    ]  # fmt: skip
    assert abs(np.mean(covered) - 0.95) < 0.025


def test_settings_keep_the_interval_honest_where_neighbouring_steps_are_alike():
    runs, steps, memory = 400, 1000, 0.7
    fresh = np.random.default_rng(4).normal(size=(steps, runs))
    drift = np.zeros((steps, runs))
    for n in range(1, steps):
        drift[n] = memory * drift[n - 1] + fresh[n]
    above, below = 3 + drift.T, np.full((runs, steps), 150.0)
    pairs = list(zip(above, below, strict=True))
    in_settings = [abs(a.mean() / 150 - 0.02) <= jackknife_margin(a, b) for a, b in pairs]
    step_by_step = [abs(a.mean() / 150 - 0.02) <= 1.96 * a.std() / 150 / math.sqrt(steps) for a, b in pairs]
    assert np.mean(in_settings) > 0.9
    assert np.mean(step_by_step) < 0.7


def run_of(inverse):
    return RunNoise(NoiseScale(1 / inverse, 8.0, 9.0), inverse, math.nan, math.nan, 10, 0)


def test_over_runs_the_inverse_is_averaged_and_its_interval_turned_back():
    scale, inverse = over_runs([run_of(x) for x in (0.1, 0.2, 0.3)])
    half = 4.302652729749464 * 0.1 / math.sqrt(3)
    assert (inverse.mean, inverse.n, inverse.left_out) == (pytest.approx(0.2), 3, 0)
    assert scale.estimate == pytest.approx(5)
    assert scale.low == pytest.approx(1 / (0.2 + half))
    assert scale.high == math.inf  # 0.2 - half is below 0


def test_one_run_keeps_its_own_interval():
    scale, inverse = over_runs([run_of(0.2)])
    assert scale == NoiseScale(5.0, 8.0, 9.0)
    assert inverse.n == 1


@pytest.mark.parametrize(
    ("inverses", "estimate", "low", "high"),
    [
        ((0.1, 0.101), 1 / 0.1005, 1 / (0.1005 + 12.706 * 0.0005), 1 / (0.1005 - 12.706 * 0.0005)),
        ((-0.3, 0.5), 10, 1 / (0.1 + 12.706 * 0.4), math.inf),
        ((-0.5, 0.3), math.nan, 1 / (-0.1 + 12.706 * 0.4), math.inf),
        ((-0.3, -0.301), math.nan, math.nan, math.nan),
        ((0.25, math.nan), 4, math.nan, math.nan),
    ],
    ids=["whole", "without upper bound", "only a lower bound", "against all sense", "one run left out"],
)
def test_a_non_positive_estimate_counts_and_is_never_dropped(inverses, estimate, low, high):
    scale, inverse = over_runs([run_of(x) for x in inverses])
    assert [scale.estimate, scale.low, scale.high] == pytest.approx([estimate, low, high], rel=1e-3, nan_ok=True)
    assert inverse.n + inverse.left_out == 2


# from recorded rows to the findings; batches of 4 in parts of norms 1.2 and 1.3 times the whole batch's

BY_HAND = 2 * 2 * ((1.44 + 1.69) / 2 - 1) / (2 - (1.44 + 1.69) / 2)


def two_parts(step):
    return (1.2, 1.3)


def changing_parts(step):
    """The same noise and signal in two parts, and after a resume in four."""
    return (1.2, 1.3) if step <= STEPS // 2 else (math.sqrt(1 + 3 * (3.13 / 2 - 1)),) * 4


def with_noise(run, **more):
    return Outcome(parts=two_parts, first_loss=4 + 0.001 * (run.variant or 0), **more)


def recording(run):
    config = run.config.model_dump(mode="json")
    config["probes"]["noise_scale"] = True
    return {"config": config}


def results_of(tmp_path, outcome, **study):
    return collect(synthetic.write_study(tmp_path, synthetic.study(**study), outcome))


def first_record(results):
    return next(run for _, _, _, run in results.places())


def test_every_variant_of_every_setting_gets_its_section_with_the_numbers_made_by_hand(tmp_path):
    findings = build_findings(results_of(tmp_path, with_noise, settings={"optim.lr": [1e-3, 3e-3]}))
    sections = [v.noise_scale for setting in findings.settings for v in setting.variants]
    assert len(sections) == 4
    for section in sections:
        assert (section.unit, section.batch_size, section.parts) == ("sequences", 4, [2])
        names = [stretch.name for stretch in section.stretches]
        assert names == ["first quarter", "second quarter", "third quarter", "last quarter", "all steps"]
        for stretch in section.stretches:
            assert [getattr(stretch.scale, key) for key in ("estimate", "low", "high")] == pytest.approx([BY_HAND] * 3)
            assert (stretch.inverse.n, len(stretch.runs)) == (3, 3)
            for run in stretch.runs:
                assert run.scale.low == pytest.approx(BY_HAND)
                assert run.steps == (40 if stretch.name == "all steps" else 10)
    text = findings.model_dump_json()
    assert Findings.model_validate_json(text).model_dump_json() == text


def test_a_study_that_recorded_no_parts_has_no_word_of_them(tmp_path):
    results = results_of(tmp_path, lambda run: Outcome())
    assert step_estimates(first_record(results)) is None
    variants = [v for setting in build_findings(results).settings for v in setting.variants]
    assert [variant.noise_scale for variant in variants] == [None] * len(variants)


def test_parts_may_change_where_a_run_was_resumed(tmp_path):
    results = results_of(tmp_path, lambda run: Outcome(parts=changing_parts))
    found = step_estimates(first_record(results))
    assert sorted(set(found.parts[: STEPS // 2])) == [2]
    assert sorted(set(found.parts[STEPS // 2 :])) == [4]
    section = build_findings(results).settings[0].variants[0].noise_scale
    assert section.parts == [2, 4]
    assert [over_steps(found, (q, q + 1)).trace for q in (1, 2)] == pytest.approx([2.26 * 0.25] * 2)


def test_a_step_whose_norms_were_not_finite_is_left_out_and_counted(tmp_path):
    def parts(step):
        return (1.2, None) if step == 7 else (1.0 + 0.01 * step, 1.3)

    found = step_estimates(first_record(results_of(tmp_path, lambda run: Outcome(parts=parts))))
    assert np.flatnonzero(np.isnan(found.trace)).tolist() == [6]
    run = over_steps(found, (0, 1))
    assert (run.steps, run.left_out) == (9, 1)
    norm = np.array([0.4] * 4 + [0.5] * 6)
    square = [norm[s - 1] ** 2 * ((1 + 0.01 * s) ** 2 + 1.69) / 2 for s in range(1, 11)]
    trace = [4 * (square[s - 1] - norm[s - 1] ** 2) for s in range(1, 11) if s != 7]
    assert run.trace == pytest.approx(np.mean(trace))


def test_diverged_runs_are_listed_and_not_averaged_and_unfinished_ones_are_null(tmp_path):
    def outcome(run):
        if run.seed == 0:
            return with_noise(run, state="diverged", why="train/loss not finite at step 25", nan_at=25)
        return with_noise(run, state="running" if run.seed == 1 else "done")

    first = build_findings(results_of(tmp_path, outcome, seeds=4)).settings[0].variants[0]
    quarters = first.noise_scale.stretches
    assert [None if run is None else run.steps for run in quarters[2].runs] == [5, None, 10, 10]
    assert [stretch.inverse.n for stretch in quarters] == [2] * 5


def single(step):
    return (1.2,)


def three(step):
    return (1.2, 1.2, 1.3)


def too_short(step):
    return (0.9, 0.9)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            None,
            r"corrupt, 0 of 40 steps with grad/norm hold grad/micro_batch_norm; with probes.noise_scale all "
            r"of them must",
        ),
        (
            single,
            r"corrupt, grad/micro_batch_norm has 1 parts at step 1; a batch of 4 sequences must be cut into at least 2",
        ),
        (
            three,
            r"corrupt, grad/micro_batch_norm has 3 parts at step 1; a batch of 4 sequences must be cut into at least 2",
        ),
        (too_short, r"corrupt, grad/norm is 0.4 at step 1 and the parts' root mean square norm 0.36; the norm of a me"),
    ],
    ids=["none", "one part", "unequal parts", "norms that cannot be"],
)
def test_norms_that_are_missing_or_impossible_are_refused(tmp_path, parts, words):
    results = results_of(tmp_path, lambda run: Outcome(parts=parts, changes=recording(run)))
    with pytest.raises(InputError, match=f"metrics.jsonl: {words}"):
        build_findings(results)


def test_a_run_that_recorded_only_some_of_its_steps_is_refused(tmp_path):
    results = results_of(tmp_path, lambda run: Outcome(parts=two_parts, changes=recording(run)))
    path = first_record(results).folder.metrics
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    del rows[9][MICRO_BATCH_GRAD_NORM]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match="39 of 40 steps with grad/norm hold grad/micro_batch_norm"):
        build_findings(results)


@pytest.mark.parametrize("value", [3.0, None, ["a", "b"]])
def test_parts_that_are_no_list_of_numbers_are_damage(tmp_path, value):
    results = results_of(tmp_path, lambda run: Outcome(parts=two_parts))
    path = first_record(results).folder.metrics
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[9][MICRO_BATCH_GRAD_NORM] = value
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"metrics\.jsonl: corrupt, every row must hold a step, numbers and lists"):
        build_findings(results)
