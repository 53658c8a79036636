"""Claims about what the records prove: that variants differ in the factor alone, and that it acted."""

import pytest
from clipping import apart, clipped, found
from synthetic import Outcome

from gpt.report.text.proof import control_text, treatment_texts


def config_of(run, **changes):
    config = run.config.model_dump(mode="json")
    for key, value in changes.items():
        section, name = key.split("__")
        config[section][name] = value
    return {"config": config}


@pytest.mark.parametrize(
    ("changes", "holds", "fields"),
    [
        ({}, True, ["optim.clip"]),
        ({"train__checkpoint_every": 7, "data__source": "elsewhere"}, True, ["optim.clip"]),
        ({"optim__weight_decay": 0.2}, False, ["optim.clip", "optim.weight_decay"]),
        ({"optim__clip": 1.0}, False, []),
    ],
)
def test_control_is_read_off_the_configurations_that_the_runs_recorded(tmp_path, changes, holds, fields):
    def outcome(run):
        return clipped(run, changes=config_of(run, **changes) if run.variant is None else {})

    control = found(tmp_path, outcome).control
    assert (control.holds, control.differing_fields) == (holds, fields)
    assert control.expected == ["optim.clip"]


def test_a_stray_configuration_of_one_seed_breaks_control_too(tmp_path):
    def outcome(run):
        return clipped(run, changes=config_of(run, model__dropout=0.1) if run.seed == 1 else {})

    control = found(tmp_path, outcome).control
    assert (control.holds, control.differing_fields) == (False, ["model.dropout", "optim.clip"])


def test_runs_that_recorded_each_others_variant_break_control(tmp_path):
    def outcome(run):
        return clipped(run, changes=config_of(run, optim__clip=1.0 if run.variant is None else None))

    control = found(tmp_path, outcome).control
    assert control.differing_fields == control.expected
    assert (control.holds, control.runs_as_planned) == (False, False)


def test_a_run_trained_on_another_text_breaks_control(tmp_path):
    other = {"data": {"sha256": "f" * 64, "unigram_loss": 3.3}}
    findings = found(tmp_path, lambda run: clipped(run, changes=other if run.seed == 2 else {}))
    assert findings.control.holds is False
    assert "different texts" in control_text(findings)


@pytest.mark.parametrize(
    ("limit", "off_scale", "limit_scale", "holds"),
    [(1.25, 1.0, 0.8, True), (1.25, 0.9, 0.8, False), (1.25, 1.0, 1.0, False), (1.0, 1.0, 1.0, False)],
    ids=["clips", "off clips too", "limit never reached", "limit ignored"],
)
def test_clipping_took_effect_only_if_the_records_show_it(tmp_path, limit, off_scale, limit_scale, holds):
    def outcome(run):
        return Outcome(scale=off_scale if run.variant is None else limit_scale, norm=1.25, **apart(run))

    treatment = found(tmp_path, outcome, variants=[limit, None]).settings[0].treatment
    assert treatment.holds is holds
    assert treatment.clipping["off"].share == (0 if off_scale == 1 else 0.9)


@pytest.mark.parametrize(
    ("post", "holds"), [((0.02, 1.0, 1.001), True), ((0.02, 1.0, 1.4), False), ((0.02, 0.03, 0.04), False)]
)
def test_post_norm_took_effect_only_if_its_fresh_stream_is_normalised(tmp_path, post, holds):
    def outcome(run):
        return Outcome(rms=post if run.variant == "post" else (0.02, 0.03, 0.04), first_loss=4 + len(run.variant))

    treatment = found(tmp_path, outcome, factor="model.norm_placement", variants=["pre", "post"]).settings[0].treatment
    assert treatment.holds is holds
    assert treatment.residual_rms_before_training["post"] == pytest.approx(list(post))


@pytest.mark.parametrize(("rms", "holds"), [((0.02, 1.0, 1.0), True), ((0.02, 0.5, 1.0), False)])
def test_a_placement_of_ones_own_is_judged_by_what_it_says_of_the_stream(tmp_path, rms, holds):
    """Whatever it is called: here `peri` stands for a placement that says that it normalises the stream."""

    def outcome(run):
        own = run.variant == "peri"
        more = {"rms": rms, "changes": {"normalises_stream": True}} if own else {}
        return Outcome(first_loss=4 + len(run.variant) + own, **more)

    findings = found(tmp_path, outcome, factor="model.norm_placement", variants=["pre", "peri"])
    assert findings.settings[0].treatment.holds is holds
    said = " ".join(treatment_texts(findings, findings.settings[0]))
    assert "where the placement normalises the stream itself (`peri`), and only there" in said


def test_a_factor_that_changes_no_loss_did_nothing(tmp_path):
    positions = {"factor": "model.position", "variants": ["rope", "learned"]}
    treatment = found(tmp_path, lambda run: Outcome(), **positions).settings[0].treatment
    assert treatment.holds is False
    assert treatment.paths_part_at_step == [None, None, None]
    apart = found(tmp_path / "apart", lambda run: Outcome(first_loss=4 + len(run.variant)), **positions)
    assert apart.settings[0].treatment.holds is True
    assert apart.settings[0].treatment.paths_part_at_step == [1, 1, 1]


def test_size_brought_by_the_factor_is_shown(tmp_path):
    def outcome(run):
        return Outcome(first_loss=4 + len(run.variant), changes={"parameters": 1000 + len(run.variant)})

    findings = found(tmp_path, outcome, factor="model.position", variants=["rope", "learned"])
    said = " ".join(treatment_texts(findings, findings.settings[0]))
    assert "`rope` has 1,004 parameters" in said
    assert "`learned` has 1,007 parameters" in said
