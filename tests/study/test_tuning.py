"""Claims about the plan of a study that tunes: equal budgets, a grid that grows where it must, a best for each arm."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from files import edited

from gpt.errors import InputError
from gpt.study.folder import StudyFolder
from gpt.study.plan import PlannedRun
from gpt.study.spec import Study
from gpt.study.study_file import load_study
from gpt.study.tuning import FIRST_SEED, StudyPlan, plan_so_far

TUNE = "tune: {optim.lr: [1.0e-3, 2.0e-3, 4.0e-3], seeds: 2, extend: true}"


def tuned(path: Path, tune: str = TUNE, more: str = "") -> Study:
    return load_study(edited(path, "seeds: 3", f"seeds: 3\n{tune}{more}"))


def planned(study: Study, loss: Callable[[PlannedRun], float | None]) -> StudyPlan:
    """The plan where each trial has the loss that a function of the run gives, stage after stage."""
    known: dict[str, float | None] = {}
    while True:
        plan = plan_so_far(study, "data", known.get)
        new = [run for run in plan.all_runs if run.fingerprint not in known]
        if not new or plan.runs:
            return plan
        known |= {run.fingerprint: loss(run) for run in new}
        if None in known.values():
            return plan_so_far(study, "data", known.get)


def bowl(**best: float) -> Callable[[PlannedRun], float]:
    """A loss that is lowest at a rate of each variant's own."""
    return lambda run: abs(math.log2(run.config.optim.lr / best[run.config.model.norm_placement]))


def test_every_variant_has_the_same_trials_in_every_setting(tiny_study: Path) -> None:
    study = tuned(tiny_study, more="\nsettings: {optim.warmup_steps: [0, 5]}")
    plan = planned(study, lambda _: None)
    assert plan.tuning is not None
    assert len({run.fingerprint for run in plan.tuning.trials}) == 2 * 2 * 3 * 2
    tried = {
        (run.variant, dict(run.setting)["optim.warmup_steps"]): set[tuple[object, int]]() for run in plan.tuning.trials
    }
    for run in plan.tuning.trials:
        tried[run.variant, dict(run.setting)["optim.warmup_steps"]].add((run.config.optim.lr, run.seed))
    assert len({frozenset(of) for of in tried.values()}) == 1
    assert len(tried) == 4


def test_nothing_of_the_comparison_is_planned_while_a_trial_is_missing(tiny_study: Path) -> None:
    study = tuned(tiny_study)
    first = planned(study, lambda run: None if run.seed == FIRST_SEED + 1 else 1.0)
    assert (len(first.all_runs), first.runs) == (12, [])


def test_the_comparison_has_each_variants_own_best_on_seeds_that_no_trial_had(tiny_study: Path) -> None:
    study = tuned(tiny_study)
    plan = planned(study, bowl(pre=1e-3 * 2, post=1.1e-3 * 2))
    assert {(run.variant, run.config.optim.lr) for run in plan.runs} == {("pre", 2e-3), ("post", 2e-3)}
    plan = planned(study, lambda run: bowl(pre=2e-3, post=2e-3)(run) + (run.config.model.norm_placement == "post"))
    assert plan.tuning is not None
    assert [run.seed for run in plan.runs] == [0, 0, 1, 1, 2, 2]
    assert {run.seed for run in plan.tuning.trials} == {FIRST_SEED, FIRST_SEED + 1}
    assert not {run.fingerprint for run in plan.runs} & {run.fingerprint for run in plan.tuning.trials}


def test_the_best_is_that_of_the_lowest_mean_over_the_seeds(tiny_study: Path) -> None:
    lucky = {1e-3: (0.0, 3.0), 2e-3: (1.0, 1.1), 4e-3: (2.0, 2.0)}
    plan = planned(tuned(tiny_study), lambda run: lucky[run.config.optim.lr][run.seed - FIRST_SEED])
    assert {run.config.optim.lr for run in plan.runs} == {2e-3}


def test_a_best_at_an_end_extends_the_grid_for_every_variant_alike(tiny_study: Path) -> None:
    plan = planned(tuned(tiny_study), bowl(pre=2e-3, post=8e-3))
    assert plan.tuning is not None
    assert plan.tuning.grid == {"optim.lr": (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)}
    tried = [(run.variant, run.config.optim.lr) for run in plan.tuning.trials]
    assert all(
        tried.count((variant, rate)) == 2 for variant in ("pre", "post") for rate in plan.tuning.grid["optim.lr"]
    )
    assert {(run.variant, run.config.optim.lr) for run in plan.runs} == {("pre", 2e-3), ("post", 8e-3)}
    assert not any(best.ends for best in plan.tuning.best.values())


def test_the_grid_is_extended_twice_at_either_end_and_then_the_end_is_named(tiny_study: Path) -> None:
    plan = planned(tuned(tiny_study), bowl(pre=1e-9, post=1e9))
    assert plan.tuning is not None
    assert plan.tuning.grid == {"optim.lr": (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)}
    assert [(arm[0], best.ends) for arm, best in plan.tuning.best.items()] == [
        ("pre", {"optim.lr": "low"}),
        ("post", {"optim.lr": "high"}),
    ]


def test_without_extend_the_end_is_named_at_once(tiny_study: Path) -> None:
    plan = planned(tuned(tiny_study, TUNE.replace(", extend: true", "")), bowl(pre=1e-9, post=2e-3))
    assert plan.tuning is not None
    assert len(plan.tuning.trials) == 12
    assert [best.ends for best in plan.tuning.best.values()] == [{"optim.lr": "low"}, {}]


def test_trials_that_all_fail_alike_extend_nothing(tiny_study: Path) -> None:
    plan = planned(tuned(tiny_study), lambda _: 3.3)
    assert plan.tuning is not None
    assert len(plan.tuning.grid["optim.lr"]) == 3
    assert len(plan.runs) == 6


def test_several_fields_are_tried_in_every_combination_and_words_have_no_ends(tiny_study: Path) -> None:
    fields = "optim.lr: [1.0e-3, 2.0e-3], model.mlp: [gelu, relu], optim.weight_decay: [0, 0.1]"
    tune = f"tune: {{{fields}, seeds: [7, 8], extend: true}}"
    plan = planned(tuned(tiny_study, tune), lambda run: run.config.optim.lr + run.config.optim.weight_decay)
    assert plan.tuning is not None
    assert plan.tuning.grid["optim.lr"] == (2.5e-4, 5e-4, 1e-3, 2e-3)
    assert plan.tuning.grid["optim.weight_decay"] == (0, 0.1)
    assert len(plan.tuning.trials) == 2 * 4 * 2 * 2 * 2
    assert {run.seed for run in plan.tuning.trials} == {7, 8}
    assert {run.config.model.mlp for run in plan.runs} == {"gelu"}


def test_a_value_that_no_run_can_have_is_not_tried(tiny_study: Path) -> None:
    tune = "tune: {optim.warmup_steps: [8, 16, 32], seeds: 1, extend: true}"
    plan = planned(tuned(tiny_study, tune), lambda run: -run.config.optim.warmup_steps)
    assert plan.tuning is not None
    assert plan.tuning.grid == {"optim.warmup_steps": (8, 16, 32)}  # 64 would be more than the run's 40 steps
    assert [best.ends for best in plan.tuning.best.values()] == [{"optim.warmup_steps": "high"}] * 2


def test_the_numbers_of_seeds_never_reach_those_of_trials(tiny_study: Path) -> None:
    edited(tiny_study, "seeds: 3", f"seeds: {FIRST_SEED}\n{TUNE}")
    assert not set(load_study(tiny_study).seeds) & {FIRST_SEED, FIRST_SEED + 1}


@pytest.mark.parametrize(
    ("tune", "expected"),
    [
        ("tune: {seeds: 2}", "tune: names no field"),
        ("tune: [1]", "tune: got [1], must be keys and values"),
        ("tune: {optim.lr: [1.0e-3, 2.0e-3]}", "tune.seeds: got None, must be how many seeds"),
        ("tune: {optim.lr: [1.0e-3, 2.0e-3], seeds: 0}", "tune.seeds: got 0, must be how many seeds"),
        ("tune: {optim.lr: [1.0e-3, 2.0e-3], seeds: true}", "tune.seeds: got True, must be how many seeds"),
        ("tune: {optim.lr: [1.0e-3, 2.0e-3], seeds: 101}", "from 1 to 100"),
        ("tune: {optim.lr: [1.0e-3, 2.0e-3], seeds: [7, 7]}", "hold a duplicate"),
        ("tune: {optim.lr: [1.0e-3, 2.0e-3], seeds: [2, 7]}", ":7: tune: seed 2 is in `seeds` too"),
        ("tune: {optim.lr: [1.0e-3, 2.0e-3], seeds: 1, extend: 2}", "tune.extend: got 2, must be true or false"),
        ("tune: {optim.lr: 1.0e-3, seeds: 1}", "tune.optim.lr: got 0.001, must be a list of at least 2 values"),
        ("tune: {optim.lr: [1.0e-3], seeds: 1}", "must be a list of at least 2 values"),
        ("tune: {optim.lr: [2.0e-3, 1.0e-3], seeds: 1}", "must rise"),
        ("tune: {optim.schedule: [cosine, cosine], seeds: 1}", "holds a duplicate"),
        ("tune: {optim.lr: [1.0e-3, -1], seeds: 1}", "tune.optim.lr: got [0.001, -1], must rise"),
        ("tune: {optim.lr: [-1, 1.0e-3], seeds: 1}", "optim.lr: got -1, must be above 0"),
        ("tune: {optim.lrr: [1.0e-3, 2.0e-3], seeds: 1}", "did you mean optim.lr?"),
        ("tune: {train.eval_every: [5, 10], seeds: 1}", "train.eval_every cannot be varied"),
        ("tune: {model.norm_placement: [pre, post], seeds: 1}", "model.norm_placement is the factor"),
        (
            "tune: {optim.lr: [1.0e-3, 2.0e-3], seeds: 1}\nsettings: {optim.lr: [1.0e-3]}",
            "optim.lr is a setting; a field that is tuned must be another",
        ),
    ],
)
def test_a_tuning_that_cannot_be_is_refused_in_one_line(tiny_study: Path, tune: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        tuned(tiny_study, tune)
    message = str(caught.value)
    assert expected in message
    assert "\n" not in message
    assert message.startswith(f"{tiny_study}:")


def test_a_study_of_seeds_cannot_tune(tiny_study: Path) -> None:
    edited(tiny_study, "model.norm_placement", "data.order_seed")
    edited(tiny_study, "[pre, post]", "[0, 1, 2]")
    with pytest.raises(InputError, match="compares no variants that could be tuned"):
        tuned(tiny_study)


@pytest.mark.parametrize(
    ("old", "new"),
    [("4.0e-3", "8.0e-3"), ("seeds: 2,", "seeds: 1,"), ("extend: true", "extend: false"), (TUNE, "")],
)
def test_a_tuning_changed_after_the_start_is_refused(tmp_path: Path, tiny_study: Path, old: str, new: str) -> None:
    folder, study = StudyFolder(tmp_path / "out", "tiny"), tuned(tiny_study)
    folder.start(study, "data", planned(study, lambda _: None).all_runs)
    assert folder.read() == study
    folder.start(study, "data", planned(study, bowl(pre=2e-3, post=2e-3)).all_runs)
    changed = load_study(edited(tiny_study, old, new))
    with pytest.raises(InputError, match="was started with tune"):
        folder.start(changed, "data", [])


def test_the_table_of_runs_follows_the_plan(tmp_path: Path, tiny_study: Path) -> None:
    folder, study = StudyFolder(tmp_path / "out", "tiny"), tuned(tiny_study)
    first, last = planned(study, lambda _: None).all_runs, planned(study, bowl(pre=2e-3, post=2e-3)).all_runs
    folder.start(study, "data", first)
    assert [entry.run for entry in folder.table()] == [run.fingerprint for run in first]
    folder.manifest.unlink()  # as a command leaves it that is killed between the table and its manifest
    folder.advance(lambda: last)
    assert [entry.run for entry in folder.table()] == [run.fingerprint for run in last]
    assert folder.manifest.exists()
