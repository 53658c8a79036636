"""Claims about what a study of seeds finds in its runs."""

import numpy as np
import pytest
import seeds
from synthetic import Outcome

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect
from gpt.analysis.statistics.variance import component_sds, pairs_needed, variance_components
from gpt.analysis.verdicts import contrasts
from gpt.config import RunConfig
from gpt.report.text.limitations import limitations
from gpt.report.text.proof import treatment_texts
from gpt.report.text.seed_variance import source_names, spread_sentences, spread_verdict
from gpt.yaml_file import parse

TABLE = np.array([[seeds.value(s, o) for o in range(5)] for s in range(5)])


def found(out, outcome=seeds.outcome, **more):
    return build_findings(collect(seeds.write(out, outcome, **more)))


def only(findings):
    (setting,) = findings.settings
    return setting.components


def sentences(findings, index=0):
    setting = findings.settings[index]
    return spread_sentences(findings.study, setting, setting.components)


def test_components_are_those_of_the_table_of_init_seeds_by_order_seeds(tmp_path):
    components = only(found(tmp_path))
    expected = variance_components(TABLE)
    assert components.split.init.estimate == pytest.approx(expected.init.estimate)
    assert components.split.order.estimate == pytest.approx(expected.order.estimate)
    assert components.split.residual.spread.high == pytest.approx(expected.residual.spread.high)
    assert components.split.init.share > components.split.order.share
    assert (components.planned, components.finished, components.failed) == (25, 25, 0)


def test_a_study_of_seeds_makes_no_contrast_and_no_family(tmp_path):
    results = collect(seeds.write(tmp_path))
    findings = build_findings(results)
    assert contrasts(results, results.settings[0]) == findings.settings[0].contrasts == []
    assert findings.family == 0
    assert findings.complete


def test_the_sentences_say_shares_spread_runs_and_what_sharing_saves(tmp_path):
    findings = found(tmp_path, smallest_effect=0.005)
    components = only(findings)
    split = variance_components(TABLE)
    first, second = sentences(findings)
    assert first.startswith(
        f"{100 * split.init.share:.0f} % of the variance of the lowest validation loss between runs comes from initial "
        f"weights (95 % interval {100 * split.init.share_low:.0f} to {100 * split.init.share_high:.0f} %, F test p "
    )
    assert f"{100 * split.order.share:.0f} % from the data order (" in first
    assert f"standard deviation of {split.run.sd:.5f} nats per character (95 % interval {split.run.low:.5f} to" in first
    assert first.endswith("none of the 25 runs failed.")
    fewer, more = (pairs_needed(split.differences[shared].sd, 0.005) for shared in ("both", "nothing"))
    assert fewer < more
    assert f"then takes {fewer} pairs instead of {more} pairs. Where" in second
    assert (
        f"share no seed differ by chance with a standard deviation of {split.differences['nothing'].sd:.5f}" in second
    )
    assert spread_verdict(components) == "both seeds matter"
    assert components.pairs["nothing"].sd == more


def test_what_is_not_told_from_chance_is_said_not_to_be(tmp_path):
    def rest_alone(run):
        plain = seeds.outcome(run)
        plain.last_loss = 1.63 + seeds.REST[run.seed][run.variant]
        return plain

    def init_alone(run):
        plain = rest_alone(run)
        plain.last_loss += seeds.INIT[run.seed]
        return plain

    none, one = found(tmp_path / "none", rest_alone), found(tmp_path / "one", init_alone)
    assert spread_verdict(only(none)) == "neither seed distinguishable from chance"
    assert "neither seed's effect is distinguishable from chance" in sentences(none)[1]
    assert spread_verdict(only(one)) == "only the initial weights distinguishable from chance"
    assert "only one seed's effect is distinguishable from chance" in sentences(one)[1]


def test_a_failed_run_is_counted_and_leaves_its_setting_alone_without_components(tmp_path):
    def outcome(run):
        return (seeds.diverging if dict(run.setting)["optim.lr"] > 2e-3 else seeds.outcome)(run)

    findings = found(tmp_path, outcome, settings={"optim.lr": [1e-3, 3e-3]})
    calm, wild = (setting.components for setting in findings.settings)
    assert calm.split is not None
    assert (wild.split, wild.pairs, wild.secondary, wild.failed) == (None, {}, {}, 2)
    assert spread_verdict(wild) == "not decomposed"
    assert sentences(findings, 1) == [
        "At optim.lr = 0.003: 2 of 25 runs failed, with 1 of 5 initialisation seeds and 2 of 5 order seeds. A spread "
        "of the others would leave out the worst runs, so none is given."
    ]


def test_an_unfinished_table_is_not_taken_apart(tmp_path):
    def outcome(run):
        return Outcome(state="planned") if (run.seed, run.variant) == (4, 4) else seeds.outcome(run)

    findings = found(tmp_path, outcome)
    assert only(findings).split is None
    assert sentences(findings) == ["24 of 25 runs have finished; the variance is decomposed when all have."]
    nothing = found(tmp_path / "nothing", lambda run: Outcome(state="planned"))
    assert sentences(nothing)[0].startswith("0 of 25 runs have finished")
    assert nothing.control.holds is None


def test_other_numbers_and_every_evaluation_are_taken_apart_too(tmp_path):
    components = only(found(tmp_path))
    last = components.secondary["val/loss.last"]
    assert last.mean == pytest.approx(TABLE.mean())
    assert list(last.sds.values()) == pytest.approx(component_sds(TABLE))
    assert "clip_scale_mean" not in components.secondary  # no run has one
    during = components.during_training
    assert during.steps == [0, 10, 20, 30, 40]
    assert during.order[0] == during.residual[0] == 0
    assert during.init[0] == pytest.approx(np.std(seeds.INIT, ddof=1))
    assert (during.init[-1], during.order[-1]) == pytest.approx(component_sds(TABLE)[:2])


def test_with_dropout_its_masks_belong_to_the_first_seed(tmp_path):
    findings = found(tmp_path, settings={"model.dropout": [0.0, 0.1]})
    words = [source_names(findings.study, setting)["init"] for setting in findings.settings]
    assert words == ["initial weights", "initial weights and dropout"]


def test_findings_survive_json_and_do_not_depend_on_the_order_of_the_runs(tmp_path):
    texts = [found(tmp_path / str(i)).model_dump_json() for i in range(2)]
    assert texts[0] == texts[1]


def test_the_treatment_is_one_start_and_another_first_batch(tmp_path):
    findings = found(tmp_path)
    treatment = findings.settings[0].treatment
    assert treatment.holds is True
    assert treatment.loss_before_training[1] == [4.17 + seeds.INIT[1]] * 5
    said = treatment_texts(findings, findings.settings[0])[0]
    assert "the 5 order seeds have the same validation loss to the last bit, in 5 of 5 initialisation seeds" in said
    assert "spans 0.01 nats" in said
    assert "differs between any two order seeds in 5 of 5" in said


@pytest.mark.parametrize(
    ("change", "holds", "said"),
    [
        ({"start": 4.17}, True, "spans 0 nats"),
        ({"start": 4.2}, False, "they do not start from the same weights"),
        ({"start": 4.17 + 1e-7}, True, "round differently"),
        ({"first_loss": 4.1}, False, "any two order seeds in 0 of 5"),
    ],
    ids=["all alike", "other weights", "other layout", "same batches"],
)
def test_a_start_that_differs_or_batches_that_do_not_are_no_treatment(tmp_path, change, holds, said):
    def outcome(run):
        plain = seeds.outcome(run)
        plain.start = 4.17
        if run.variant == 2 or "first_loss" in change:
            for name, number in change.items():
                setattr(plain, name, number)
        return plain

    findings = found(tmp_path, outcome)
    assert findings.settings[0].treatment.holds is holds
    assert said in treatment_texts(findings, findings.settings[0])[0]


def without_order(run):
    """What another study recorded of a run whose order is its own seed's: that nothing was said."""
    config = run.config.model_dump(mode="json")
    return {"config": {**config, "data": {**config["data"], "order_seed": None}}}


def test_control_holds_where_another_study_made_the_runs_whose_seeds_are_equal(tmp_path):
    def outcome(run):
        plain = seeds.outcome(run)
        plain.changes = without_order(run) if run.seed == run.variant else {}
        return plain

    control = found(tmp_path, outcome).control
    assert control.holds is True
    assert control.differing_fields == ["data.order_seed"]


def test_control_breaks_where_a_run_recorded_another_order(tmp_path):
    def outcome(run):
        plain = seeds.outcome(run)
        plain.changes = without_order(run) if (run.seed, run.variant) == (1, 2) else {}
        return plain

    control = found(tmp_path, outcome).control
    assert (control.holds, control.runs_as_planned) == (False, False)


def test_an_ordinary_study_is_controlled_where_a_study_of_seeds_made_some_of_its_runs(tmp_path):
    from synthetic import study, write_study

    def outcome(run):
        config = run.config.model_dump(mode="json")
        own = {"config": {**config, "data": {**config["data"], "order_seed": run.seed}}}
        return Outcome(first_loss=4 + len(run.variant), changes=own if run.variant == "rope" else {})

    planned = study("model.position", ["rope", "learned"])
    control = build_findings(collect(write_study(tmp_path, planned, outcome))).control
    assert (control.holds, control.differing_fields) == (True, ["model.position"])


def test_an_order_that_all_runs_share_breaks_no_control(tmp_path):
    from synthetic import BASE, study, write_study

    base = parse(RunConfig, {**BASE, "data": {**BASE["data"], "order_seed": 1}}, "base").model_dump(mode="json")
    planned = study("model.position", ["rope", "learned"], base=base)
    outcome = write_study(tmp_path, planned, lambda run: Outcome(first_loss=4 + len(run.variant)))
    assert build_findings(collect(outcome)).control.holds is True


def test_limitations_say_what_so_few_seeds_tell_and_nothing_of_contrasts(tmp_path):
    said = " ".join(limitations(found(tmp_path)))
    assert "to within factors of 0.60 to 2.87" in said
    assert "0.74 to 1.52" in said
    assert "a variant that would need another" not in said
    assert "changes initial weights, batch order and dropout together" not in said
