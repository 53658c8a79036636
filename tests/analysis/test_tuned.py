"""What findings say of trials: every point, each variant's best, ends of the grid, cost, failures."""

import itertools
import math
import random
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest
import synthetic
from synthetic import Outcome

from gpt.analysis.build import build_findings
from gpt.analysis.collect import UNCHOSEN, collect
from gpt.analysis.findings import Findings
from gpt.analysis.tuned import expected_best
from gpt.report.answer import answer_of
from gpt.report.build import build_report
from gpt.report.pages.tables import verdict_sentences
from gpt.report.pages.tuning import tuning_notes
from gpt.study.folder import StudyFolder
from gpt.study.plan import PlannedRun

TUNE = {"grid": {"optim.lr": [1e-3, 2e-3, 4e-3]}, "seeds": [100, 101], "extend": True}
BEST = {1.0: 2e-3, None: 8e-3}
"""by variant: a limit, or none"""


def bowl(run: PlannedRun) -> Outcome:
    """A loss of 2 at the best rate of the variant, and 0.1 more for each doubling from it."""
    away = abs(math.log2(run.config.optim.lr / BEST[run.variant]))
    return Outcome(last_loss=2 + 0.1 * away + 0.01 * (run.seed % 100) + (0.05 if run.variant is None else 0))


def write(out: Path, outcome: Callable[[PlannedRun], Outcome] = bowl, **more: object) -> StudyFolder:
    return synthetic.write_study(out, synthetic.study(tune=TUNE | more, seeds=3), outcome)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    return write(tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def findings(folder: StudyFolder) -> Findings:
    return build_findings(collect(folder))


def test_every_point_of_the_grid_is_there_with_its_loss_and_its_difference(findings: Findings) -> None:
    assert findings.tuning is not None
    assert findings.tuning.grid == {"optim.lr": [1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2]}
    clipped, free = findings.tuning.arms
    assert [point.mean.mean for point in clipped.points] == pytest.approx([2.105, 2.005, 2.105, 2.205, 2.305])
    assert clipped.points[0].losses == pytest.approx([2.1, 2.11])
    assert [point.difference for point in clipped.points] == [None] * 5
    assert [point.difference and point.difference.mean for point in free.points] == pytest.approx(
        [0.25, 0.25, 0.05, -0.15, -0.15]
    )


def test_the_best_of_each_is_chosen_and_compared(findings: Findings, folder: StudyFolder) -> None:
    assert findings.tuning is not None
    assert [arm.chosen for arm in findings.tuning.arms] == [{"optim.lr": 2e-3}, {"optim.lr": 8e-3}]
    (setting,) = findings.settings
    assert [variant.tuned for variant in setting.variants] == [{"optim.lr": 2e-3}, {"optim.lr": 8e-3}]
    assert [findings.study.config(setting, variant)["optim.lr"] for variant in setting.variants] == [2e-3, 8e-3]
    assert findings.contrasts[0].paired.mean_difference == pytest.approx(0.05)
    ((_, sentence),) = verdict_sentences(findings)
    assert sentence.endswith("Each at its own best: `1.0` at optim.lr = 0.002 and `off` at optim.lr = 0.008.")
    assert [each.chosen for each in answer_of(folder, findings).tuned] == [{"optim.lr": 2e-3}, {"optim.lr": 8e-3}]


def test_the_comparison_is_controlled_although_the_rates_differ(findings: Findings) -> None:
    assert findings.control.holds is True
    assert findings.control.differing_fields == ["optim.clip"]
    assert findings.tuning is not None
    assert findings.tuning.as_planned is True


def test_a_run_at_another_rate_than_the_chosen_one_is_noticed(tmp_path: Path) -> None:
    def confused(run: PlannedRun) -> Outcome:
        outcome = bowl(run)
        if run.seed == 0 and run.variant is None:
            config = run.config.model_dump(mode="json")
            config["optim"]["lr"] = 4e-3
            outcome.changes = {"config": config}
        return outcome

    assert build_findings(collect(write(tmp_path, confused))).control.holds is False


def test_a_trial_that_differs_in_more_than_the_factor_is_noticed(tmp_path: Path) -> None:
    def confused(run: PlannedRun) -> Outcome:
        outcome = bowl(run)
        if run.seed == 100 and run.variant is None:
            config = run.config.model_dump(mode="json")
            config["optim"]["weight_decay"] = 0.5
            outcome.changes = {"config": config}
        return outcome

    findings = build_findings(collect(write(tmp_path, confused)))
    assert findings.control.holds is True
    assert findings.tuning is not None
    assert findings.tuning.as_planned is False


def test_cost_is_that_of_the_trials_among_all_runs(findings: Findings) -> None:
    assert findings.tuning is not None
    trials, compared = 2 * 5 * 2, 2 * 3
    assert (findings.tuning.trials, findings.tuning.finished, findings.tuning.failed) == (trials, trials, 0)
    assert findings.tuning.training_flops == trials * 5678 * synthetic.STEPS * 4 * 8
    assert findings.tuning.share_of_compute == pytest.approx(trials / (trials + compared))


def test_sensitivity_is_that_of_the_trials(findings: Findings) -> None:
    assert findings.tuning is not None
    (rates,) = findings.tuning.sensitivity
    assert rates.values == [1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2]
    assert [variant.mean.mean for variant in rates.variants] == pytest.approx([0.7 / 5, 0.7 / 5])
    assert findings.rate_sensitivity is None


def test_failed_trials_count_with_the_unigram_loss(tmp_path: Path) -> None:
    def failing(run: PlannedRun) -> Outcome:
        lost = run.config.optim.lr > 3e-3 and run.seed == 100
        return Outcome(last_loss=1.0, state="diverged", why="left", nan_at=15) if lost else bowl(run)

    findings = build_findings(collect(write(tmp_path, failing)))
    assert findings.tuning is not None
    clipped = findings.tuning.arms[0]
    assert [point.losses[0] for point in clipped.points] == pytest.approx([2.1, 2.0, 3.3])
    assert [arm.chosen for arm in findings.tuning.arms] == [{"optim.lr": 2e-3}] * 2
    assert findings.tuning.failed == 2


def test_a_variant_that_no_value_trains_is_said_to_have_no_best(tmp_path: Path) -> None:
    def outcome(run: PlannedRun) -> Outcome:
        return bowl(run) if run.variant is not None else Outcome(state="diverged", nan_at=25)

    found = build_findings(collect(write(tmp_path, outcome)))
    said = "No value of the grid trained `off`: every trial failed, and the one that was taken is no best."
    assert said in verdict_sentences(found)[0][1]
    assert tuning_notes(found)[-1] == said
    assert "`1.0`: every trial" not in " ".join(tuning_notes(found))


def test_a_best_at_the_end_is_named_in_the_verdict(tmp_path: Path) -> None:
    findings = build_findings(collect(write(tmp_path, extend=False)))
    assert findings.tuning is not None
    assert [arm.ends for arm in findings.tuning.arms] == [{}, {"optim.lr": "high"}]
    ((_, sentence),) = verdict_sentences(findings)
    assert "The best of `off` is at the edge of the grid (the high end of its grid in optim.lr)" in sentence


def test_while_a_trial_is_missing_nothing_is_chosen_and_the_report_says_so(tmp_path: Path) -> None:
    folder = write(tmp_path, lambda run: Outcome(state="planned") if run.seed == 101 else bowl(run))
    built = build_report(folder)
    findings = built.findings
    assert findings.tuning is not None
    assert (findings.tuning.finished, findings.tuning.trials) == (6, 12)
    assert not any(arm.chosen for arm in findings.tuning.arms)
    assert {run for variant in findings.settings[0].variants for run in variant.runs} == {UNCHOSEN}
    assert Findings.read(folder.findings).tuning is not None
    assert "0 of 6 runs have finished" in (folder.report / "report.md").read_text()


def test_the_report_shows_the_grid_and_every_trial(folder: StudyFolder) -> None:
    build_report(folder)
    page = (folder.report / "report.md").read_text()
    assert "| 0.002 | 2.0050 (0.0071) * | 2.2550 (0.0071) |" in page
    assert "The trials took 76.9 % of the training compute" in page
    assert "2.2550 (0.0071)" in folder.page.read_text()
    assert {"tuning.png", "tuning-budget.png"} <= {path.name for path in (folder.report / "figures").iterdir()}
    rows = (folder.report / "trials.csv").read_text().splitlines()
    assert rows[0] == "optim.clip,optim.lr,seed,run,state,val/loss.min,chosen"
    assert len(rows) == 1 + 20
    assert rows[3].startswith("1.0,0.002,100,")
    assert rows[3].endswith(",done,2.0,true")


def test_the_budget_curve_is_the_mean_lowest_of_k_points() -> None:
    dice = random.Random(0)
    for n in range(1, 7):
        losses = [dice.random() for _ in range(n)]
        slow = [fmean(min(drawn) for drawn in itertools.combinations(losses, k)) for k in range(1, n + 1)]
        assert expected_best(losses) == pytest.approx(slow)
    assert all(map(math.isnan, expected_best([1.0, math.nan])))
