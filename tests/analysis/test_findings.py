"""Claims about the findings of a study, and the sentences that are made of them."""

import math

import pytest
import synthetic
from clipping import clipped, found
from synthetic import Outcome

from gpt.analysis.findings import Findings, LayoutFindings
from gpt.records.files import make_folder, write_json
from gpt.report.publish import published
from gpt.report.text.limitations import limitations
from gpt.report.text.sentences import sentence

A = [2.00, 2.03, 2.05, 2.01, 2.04, 2.02, 2.06]


def of_differences(tmp_path, differences, **study):
    """Findings of a study whose second variant is so much above the first, seed by seed."""

    def outcome(run):
        return clipped(run, A[run.seed] + (differences[run.seed] if run.variant is None else 0))

    return found(tmp_path, outcome, seeds=len(differences), **study)


def only_contrast(findings):
    return findings.settings[0].contrasts[0]


def only_sentence(findings):
    return sentence(only_contrast(findings), findings.study.metric)


def test_the_contrast_is_the_one_computed_by_hand(tmp_path):
    contrast = only_contrast(of_differences(tmp_path, [0.01, 0.02, 0.06]))
    paired = contrast.paired
    sd = math.sqrt((0.02**2 + 0.01**2 + 0.03**2) / 2)
    margin = 4.302652729749464 * sd / math.sqrt(3)
    assert paired.mean_difference == pytest.approx(0.03)
    assert paired.sd_difference == pytest.approx(sd)
    assert (paired.low, paired.high) == pytest.approx((0.03 - margin, 0.03 + margin))
    assert paired.differences == pytest.approx([0.01, 0.02, 0.06])
    assert contrast.p == contrast.p_adjusted == paired.p_sign_flip == 0.25
    assert contrast.seeds == [0, 1, 2]
    assert contrast.rank.probability_b_better == 0
    assert (contrast.a, contrast.b, contrast.family) == ("1.0", "off", 1)


def test_a_variant_has_its_values_runs_mean_and_interval(tmp_path):
    findings = of_differences(tmp_path, [0.01, 0.02, 0.06])
    first, second = findings.settings[0].variants
    assert first.values == A[:3]
    assert second.values == pytest.approx([2.01, 2.05, 2.11])
    assert len(set(first.runs + second.runs)) == 6
    assert first.mean.mean == pytest.approx(sum(A[:3]) / 3)
    half = 4.302652729749464 * 0.025166114784235 / math.sqrt(3)
    assert first.mean.high - first.mean.low == pytest.approx(2 * half)
    assert (first.parameters, first.training_flops_per_token) == (1234, 5678)
    assert first.secondary["clipped_share"].values == [0.9, 0.9, 0.9]
    assert second.secondary["clipped_share"].mean.mean == 0
    assert only_contrast(findings).secondary["grad_norm_max"].mean == pytest.approx(0)


def test_holms_correction_goes_over_all_contrasts_of_the_study(tmp_path):
    size = {"sinusoidal": 0.0, "rope": -0.3, "learned": 0.001, "none": 0.2}
    wobble = [0.001, -0.001, 0.002, -0.002, 0.003, -0.003, 0.0015]

    def outcome(run):
        bend = wobble[run.seed] * (1 + len(run.variant)) * (run.variant != "sinusoidal")
        return Outcome(A[run.seed] + size[run.variant] + bend, first_loss=4 + size[run.variant])

    findings = found(tmp_path, outcome, factor="model.position", variants=list(size), seeds=7)
    contrasts = findings.settings[0].contrasts
    assert [c.family for c in contrasts] == [3, 3, 3]
    assert [c.p for c in contrasts][::2] == [2 / 128, 2 / 128]
    assert [c.p_adjusted for c in contrasts][::2] == [6 / 128, 6 / 128]
    assert contrasts[1].p_adjusted == contrasts[1].p > 0.3
    assert [c.verdict for c in contrasts] == ["different", "inconclusive", "different"]


def test_other_studies_beside_it_change_no_verdict(tmp_path):
    many = [
        of_differences(tmp_path / str(i), [0.1, 0.11, 0.12, 0.1, 0.11, 0.13, 0.1], name=f"study-{i}") for i in range(4)
    ]
    assert [only_contrast(f).verdict for f in many] == ["different"] * 4
    for findings in many:
        make_folder(tmp_path / "results" / findings.study.name)
        write_json(tmp_path / "results" / findings.study.name / "findings.json", findings.model_dump())
    assert [only_contrast(f).p_adjusted for f in published(tmp_path / "results")] == [2 / 128] * 4
    assert [only_contrast(f).verdict for f in published(tmp_path / "results")] == ["different"] * 4


@pytest.mark.parametrize(
    ("differences", "verdict", "said"),
    [
        (
            [0.1, 0.12, 0.11, 0.1, 0.12, 0.11, 0.11],
            "different",
            "With `off` the lowest validation loss is 0.1100 nats per character higher (worse) than with `1.0` "
            "(95 % interval 0.1024 to 0.1176 higher, n = 7 seed pairs, corrected p = 0.016); the whole interval lies "
            "beyond the smallest difference that matters, 0.01; none of the 14 runs failed.",
        ),
        (
            [-0.1, -0.12, -0.002, -0.1, -0.012, -0.11, -0.11],
            "different",
            "With `off` the lowest validation loss is 0.0791 nats per character lower (better) than with `1.0` "
            "(95 % interval 0.0331 to 0.1252 lower, n = 7 seed pairs, corrected p = 0.016); the whole interval lies "
            "beyond the smallest difference that matters, 0.01; none of the 14 runs failed.",
        ),
        (
            [0.001, 0.002, 0.03, 0.02, 0.001, 0.002, 0.02],
            "different",
            "With `off` the lowest validation loss is 0.0109 nats per character higher (worse) than with `1.0` "
            "(95 % interval 0.0004 lower to 0.0221 higher, n = 7 seed pairs, corrected p = 0.016); the interval "
            "includes zero although the test, which assumes no normal distribution, rules it out; none of the 14 runs "
            "failed.",
        ),
        (
            [0.011, 0.012, 0.02, 0.015, 0.004, 0.012, 0.02],
            "different",
            "With `off` the lowest validation loss is 0.0134 nats per character higher (worse) than with `1.0` "
            "(95 % interval 0.0083 to 0.0186 higher, n = 7 seed pairs, corrected p = 0.016); the interval does not "
            "settle whether the difference exceeds the smallest difference that matters, 0.01; none of the 14 runs "
            "failed.",
        ),
        (
            [-0.001, -0.002, -0.001, -0.002, -0.001, -0.002, -0.001],
            "different but smaller than matters",
            "With `off` the lowest validation loss is 0.0014 nats per character lower (better) than with `1.0` "
            "(95 % interval 0.0009 to 0.0019 lower, n = 7 seed pairs, corrected p = 0.016), but that is smaller "
            "than the smallest difference that matters, 0.01 (two one-sided tests, p < 0.001); none of the 14 runs "
            "failed.",
        ),
        (
            [-0.001, 0.002, -0.001, 0.002, -0.001, -0.002, 0.001],
            "equivalent",
            "`off` and `1.0` are equivalent for practical purposes: with `off` the lowest validation loss is the same "
            "to 4 decimals (95 % interval 0.0015 lower to 0.0015 higher, n = 7 seed pairs, corrected p = 1.000), "
            "smaller than the smallest difference that matters, 0.01 (two one-sided tests, p < 0.001); none of "
            "the 14 runs failed.",
        ),
        (
            [-0.1, 0.1, -0.08, 0.12, -0.1, 0.09, 0.05],
            "inconclusive",
            "Whether `off` differs from `1.0` is not settled: with `off` the lowest validation loss is 0.0114 nats per "
            "character higher (95 % interval 0.0814 lower to 0.1043 higher, n = 7 seed pairs, corrected p = 0.781); "
            "none of the 14 runs failed; a difference as large as matters (0.01) is not ruled out.",
        ),
        (
            [0.1, 0.12, 0.11],
            "inconclusive",
            "Whether `off` differs from `1.0` is not settled: with `off` the lowest validation loss is 0.1100 nats per "
            "character higher (95 % interval 0.0852 to 0.1348 higher, n = 3 seed pairs, corrected p = 0.250); none of "
            "the 6 runs failed; the interval, which is not corrected, leaves out zero, but the corrected test does "
            "not; 3 pairs cannot give a p below 0.25: a new study needs more seeds.",
        ),
    ],
)
def test_the_sentence_says_direction_size_interval_p_pairs_and_whether_it_matters(tmp_path, differences, verdict, said):
    findings = of_differences(tmp_path, differences)
    assert only_contrast(findings).verdict == verdict
    assert only_sentence(findings) == said


def test_a_difference_that_is_not_shown_is_neither_better_nor_worse(tmp_path):
    findings = of_differences(tmp_path, [1e-6, 1.1e-6, 1.2e-6, 1e-6, 1.1e-6, 1.3e-6, 1e-6])
    assert only_contrast(findings).verdict == "different but smaller than matters"
    assert only_sentence(findings).startswith(
        "With `off` the lowest validation loss is the same to 4 decimals as with `1.0`"
    )


def diverging(lost_a, lost_b):
    def outcome(run):
        lost = run.seed in (lost_b if run.variant is None else lost_a)
        what = {"state": "diverged", "why": "train/loss not finite at step 25", "nan_at": 25} if lost else {}
        return clipped(run, A[run.seed] - (0.1 + 0.004 * run.seed) * (run.variant is None), **what)

    return outcome


def test_with_a_failed_run_the_rank_comparison_leads_and_the_loss_speaks_of_survivors(tmp_path):
    findings = found(tmp_path, diverging({3}, {0, 1}), seeds=7)
    contrast = only_contrast(findings)
    assert contrast.among_survivors is True
    assert contrast.basis == "rank, failure worst"
    assert (contrast.rank.wins, contrast.rank.losses) == (5, 2)
    assert contrast.p == contrast.rank.p_sign == pytest.approx(2 * (21 + 7 + 1) / 128)
    assert (contrast.paired.n, contrast.paired.left_out) == (4, 3)
    assert contrast.paired.mean_difference == pytest.approx(-(0.1 + 0.004 * (2 + 4 + 5 + 6) / 4))
    assert (contrast.failures.failed_a, contrast.failures.failed_b) == (1, 2)
    assert only_sentence(findings) == (
        "Whether `off` differs from `1.0` is not settled: `off` does better than `1.0` in 5 of 7 seeds (sign test, "
        "corrected p = 0.453, n = 7 seed pairs); a failed run counts as the worst, and `off` failed in 2 of 7 "
        "runs, `1.0` in 1 of 7 (McNemar's exact p = 1.000, not corrected); among survivors alone, 4 pairs, the lowest "
        "validation loss with `off` is 0.1170 nats per character lower (95 % interval 0.1061 to 0.1279 lower)."
    )
    second = findings.settings[0].variants[1]
    assert second.failed == [True, True, *[False] * 5]
    assert second.why[0] == "train/loss not finite at step 25"
    assert (second.mean.n, second.mean.left_out) == (5, 2)


def test_a_variant_that_always_fails_loses_by_rank_with_no_size_given(tmp_path):
    findings = found(tmp_path, diverging(set(), set(range(7))), seeds=7)
    contrast = only_contrast(findings)
    assert contrast.p == 2 / 128
    assert contrast.verdict == "different"
    assert only_sentence(findings) == (
        "`1.0` does better than `off` in 7 of 7 seeds (sign test, corrected p = 0.016, n = 7 seed pairs); a failed "
        "run counts as the worst, and `off` failed in 7 of 7 runs, `1.0` in 0 of 7 (McNemar's exact p = 0.016, not "
        "corrected); no seed survived in both, so no size can be given."
    )


def test_an_incomplete_study_says_so_and_compares_whole_pairs_alone(tmp_path):
    def outcome(run):
        if run.variant is None and run.seed >= 4:
            return Outcome(state="failed" if run.seed == 4 else "running", why="OSError: no space" * (run.seed == 4))
        return clipped(run, A[run.seed] + (0.1 + 0.001 * run.seed if run.variant is None else 0))

    findings = found(tmp_path, outcome, seeds=6)
    contrast = only_contrast(findings)
    assert findings.complete is False
    assert (findings.runs.finished, findings.runs.planned) == (10, 12)
    assert findings.runs.states == {"done": 10, "failed": 1, "running": 1}
    assert contrast.seeds == [0, 1, 2, 3]
    assert only_sentence(findings).startswith("Incomplete, 4 of 6 pairs: Whether `off` differs from `1.0`")
    assert findings.settings[0].variants[1].states == ["done"] * 4 + ["failed", "running"]
    assert findings.control.holds is True


def test_a_study_without_a_finished_run_compares_nothing(tmp_path):
    findings = found(tmp_path, lambda run: Outcome(state="planned"))
    assert (findings.runs.finished, findings.runs.planned) == (0, 6)
    assert only_sentence(findings) == ("No seed has finished with both `1.0` and `off`, so nothing can be compared.")
    assert findings.control.holds is findings.settings[0].treatment.holds is None
    assert math.isnan(only_contrast(findings).p_adjusted)


def test_equal_runs_give_equal_findings_whatever_the_order_they_were_made_in(tmp_path):
    texts = []
    for place, backwards in (("here", False), ("there", True)):
        findings = found(tmp_path / place, diverging({1}, {2}), backwards, seeds=3, settings={"optim.lr": [1e-3, 2e-3]})
        texts.append(findings.model_dump_json())
    assert texts[0] == texts[1]


def test_findings_hold_no_path_time_or_duration(tmp_path):
    text = found(tmp_path, clipped).model_dump_json()
    assert "/somewhere" not in text
    assert str(tmp_path) not in text
    assert "plays.txt" in text
    assert "seconds" not in text
    assert "12.5" not in text


def test_findings_survive_json(tmp_path):
    for outcome in (diverging(set(), {0}), diverging(set(), {0, 1, 2})):
        findings = found(tmp_path / str(id(outcome)), outcome)
        write_json(tmp_path / "findings.json", findings.model_dump())
        again = Findings.read(tmp_path / "findings.json")
        assert again.model_dump_json() == findings.model_dump_json()
        assert only_sentence(again) == only_sentence(findings)


def test_runs_made_by_different_stacks_are_named(tmp_path):
    newer = {"stack": {**synthetic.STACK, "torch": "9.9.9"}}
    findings = found(tmp_path, lambda run: clipped(run, changes=newer if run.seed == 2 else {}))
    assert findings.stack_differences == {"torch": ["2.13.0", "9.9.9"]}
    assert "torch" not in findings.stack
    assert findings.stack["threads"] == 1


def test_code_is_compared_part_by_part_and_commits_are_named(tmp_path):
    def other(run):
        code = {**synthetic.CODE, f"model.norm={run.seed}": f"version {run.seed}"}
        if run.seed == 2:
            code["shared"] = "another"
        return {"code": code, "source": {"gpt": "0.1.0", "commit": "fedcba", "dirty": run.seed == 1}}

    findings = found(tmp_path, lambda run: clipped(run, changes=other(run)))
    assert findings.stack_differences == {"code of shared": ["0123456789ab", "another"]}
    assert "code" not in findings.stack
    assert findings.stack["commit"] == "fedcba and fedcba with changes"
    alike = found(tmp_path / "alike", lambda run: clipped(run)).stack
    assert alike["commit"] == synthetic.SOURCE["commit"]
    assert len(alike["code"]) == 12


def test_layouts_are_counted_and_more_than_one_is_a_limitation(tmp_path):
    one = {"engine": "single process", "ranks": 1, "micro_batches": 1, "seeds_together": 1}
    two = {"engine": "DDP", "ranks": 2, "micro_batches": 4, "seeds_together": 3}
    resumed = {"layouts": [{"from_step": 0, **one}, {"from_step": 20, **two}]}
    findings = found(tmp_path / "two", lambda run: clipped(run, changes=resumed if run.seed == 2 else {}))
    runs = findings.runs.finished
    assert findings.layouts == [LayoutFindings(**two, runs=2), LayoutFindings(**one, runs=runs)]
    assert any("2 layouts" in sentence for sentence in limitations(findings))
    alike = found(tmp_path / "one", clipped)
    assert alike.layouts == [LayoutFindings(**one, runs=runs)]
    assert not any("layouts" in sentence for sentence in limitations(alike))


def test_limitations_name_what_could_be_detected_and_that_learning_had_not_ended(tmp_path):
    findings = of_differences(tmp_path, [0.01, 0.02, 0.06])
    detectable = only_contrast(findings).paired.minimum_detectable_difference
    said = " ".join(limitations(findings))
    assert f"a true difference of {detectable:.2g} is found with a power of 80 %" in said
    assert "6 of 6 runs had the lowest validation loss at the very last step" in said
    assert "1,280 characters read in training" in said


def test_settings_are_compared_within_themselves(tmp_path):
    def outcome(run):
        shift = 0.5 if dict(run.setting)["optim.lr"] > 2e-3 else 0.0
        return clipped(run, A[run.seed] + shift + (0.02 + 0.001 * run.seed if run.variant is None else 0))

    findings = found(tmp_path, outcome, settings={"optim.lr": [1e-3, 3e-3]}, seeds=3)
    contrasts = [setting.contrasts[0] for setting in findings.settings]
    assert [c.setting for c in contrasts] == ["optim.lr = 0.001", "optim.lr = 0.003"]
    assert [c.paired.mean_difference for c in contrasts] == pytest.approx([0.021, 0.021])
    assert [c.p_adjusted for c in contrasts] == [0.5, 0.5]
    assert findings.control.holds is True
    assert sentence(contrasts[1], findings.study.metric).startswith("At optim.lr = 0.003: Whether")


def test_limitations_speak_of_each_settings_and_variants_own_configuration(tmp_path):
    settings = {"train.batch_size": [8], "train.steps": [20, 40], "optim.lr": [2e-3]}
    text = " ".join(limitations(found(tmp_path, clipped, settings=settings)))
    assert "20 to 40 steps, 1,280 to 2,560 characters read in training" in text
    assert "One learning rate (`optim.lr = 0.002`) for all variants" in text
    assert "6 of 12 runs had the lowest validation loss at the very last step" in text
    rates = found(tmp_path / "rates", clipped, settings={"optim.lr": [1e-3, 2e-3]})
    assert "One learning rate" not in " ".join(limitations(rates))
    masks = found(tmp_path / "masks", clipped, settings={"model.dropout": [0.1]})
    assert "initial weights, batch order and dropout together" in " ".join(limitations(masks))
