import json
import math
import random

import numpy as np
import pytest
import synthetic
from synthetic import STEPS, Outcome

from gpt.analysis.collect import collect
from gpt.analysis.run_reader import heatmap_steps
from gpt.errors import InputError
from gpt.records.metric import parse_metric
from gpt.records.run_folder import load_arrays, save_arrays
from gpt.study.folder import run_at
from gpt.study.plan import plan


def only_run(results):
    """The first planned run's record and folder."""
    return next(run for _, _, _, run in results.places())


def test_runs_come_in_the_order_of_the_study_whatever_the_order_of_the_table(tmp_path):
    planned = synthetic.study(seeds=4, settings={"optim.lr": [1e-3, 3e-3]})
    folder = synthetic.write_study(tmp_path, planned, lambda run: Outcome(2 + run.seed / 8 + (run.variant or 0)))
    table = json.loads(folder.runs_json.read_text())
    random.Random(0).shuffle(table["runs"])
    folder.runs_json.write_text(json.dumps(table))
    results = collect(folder)
    assert [setting.label for setting in results.settings] == ["optim.lr = 0.001", "optim.lr = 0.003"]
    for setting in results.settings:
        assert [group.label for group in setting.groups] == ["1.0", "off"]
        for group in setting.groups:
            values = [run.value(results.metric) for run in group.runs]
            assert values == [2 + seed / 8 + (group.variant or 0) for seed in range(4)]
            assert [run.info["seed"] for run in group.runs] == [0, 1, 2, 3]


def test_every_planned_run_is_there_with_its_state_and_only_finished_ones_have_a_value(tmp_path):
    states = {0: "done", 1: "diverged", 2: "failed", 3: "running", 4: "planned"}
    folder = synthetic.write_study(
        tmp_path,
        synthetic.study(seeds=5),
        lambda run: Outcome(state=states[run.seed], why="" if run.seed in (0, 3) else "said why"),
    )
    results = collect(folder)
    group = results.settings[0].groups[0]
    assert [run.status.state for run in group.runs] == list(states.values())
    assert [run.finished for run in group.runs] == [True, True, False, False, False]
    assert [math.isfinite(run.value(results.metric)) for run in group.runs] == [True, True, False, False, False]
    assert [run.begun for run in group.runs] == [True, True, True, True, False]
    assert group.survivors == [group.runs[0]]
    assert group.shown_runs == "1 run"


def test_means_fall_back_on_failed_runs_only_where_no_run_survived(tmp_path):
    folder = synthetic.write_study(
        tmp_path, synthetic.study(), lambda run: Outcome(state="diverged", why="learned_nothing")
    )
    group = collect(folder).settings[0].groups[0]
    assert group.survivors == []
    assert group.shown == list(group.runs)
    assert group.shown_runs == "3 failed runs"


def test_secondary_scalars_are_those_counted_by_hand(tmp_path):
    outcome = Outcome(1.5, norm=2.5, scale=0.4, first_loss=3.0, spikes=2, collapses=1, logit=5.0, rms=(0.1, 0.3, 0.2))
    folder = synthetic.write_study(tmp_path, synthetic.study(seeds=2), lambda run: outcome)
    found = only_run(collect(folder)).secondary
    assert found == pytest.approx({
        "val/loss.last": 1.5,
        "train/loss.last": 3.0 - 0.01 * (STEPS - 1),
        "best_step": STEPS,
        "clipped_share": (STEPS - 4) / STEPS,
        "clip_scale_mean": 0.4,
        "clip_scale_median": 0.4,
        "grad_norm_median": 2.5,
        "grad_norm_max": 2.5,
        "spikes": 2,
        "smallest_spike": 0.3,
        "entropy_collapses": 1,
        "attention_entropy": 1.3 - 0.4,
        "attention_logit_max": 5.0,
        "attention_previous": 0.2 + 0.3,
        "attention_induction": 0.1 + 0.6,
        "residual_growth": 2.0,
        "residual_kurtosis": 3.0,
        "dead_share": 0.05,
        "truncation_loss": math.nan,
        "beyond_context": (2.3 + 0.2 * 4.5) - (3.0 - 0.1 * 5.5),
        "median_lookback": 3,
    }, nan_ok=True)  # fmt: skip


def test_a_run_that_recorded_nothing_but_rows_has_no_other_scalars(tmp_path):
    outcome = Outcome(probes=False, long_range=False)
    run = only_run(collect(synthetic.write_study(tmp_path, synthetic.study(seeds=2), lambda run: outcome)))
    assert run.long_range is None
    assert run.probes == {}
    missing = {name for name, value in run.secondary.items() if math.isnan(value)}
    assert missing >= {"attention_entropy", "attention_logit_max", "residual_growth", "dead_share", "median_lookback"}
    assert math.isfinite(run.secondary["val/loss.last"])


def test_a_run_without_a_scaled_step_has_no_clip_scale_rather_than_one(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(seeds=2), lambda run: Outcome(scale=1.0))
    found = only_run(collect(folder)).secondary
    assert found["clipped_share"] == 0
    assert math.isnan(found["clip_scale_mean"])


def test_curves_keep_what_was_not_finite_as_nan(tmp_path):
    outcome = Outcome(state="diverged", why="train/loss not finite at step 13", nan_at=13)
    folder = synthetic.write_study(tmp_path, synthetic.study(seeds=2), lambda run: outcome)
    steps, values = only_run(collect(folder)).curve("train/loss")
    assert steps.tolist() == list(range(1, 14))
    assert np.isfinite(values).tolist() == [True] * 12 + [False]
    assert only_run(collect(folder)).curve("grad/layer_norm")[1].shape == (13, 4)


def test_a_key_that_was_never_recorded_has_an_empty_curve_and_no_value(tmp_path):
    results = collect(synthetic.write_study(tmp_path, synthetic.study(), lambda run: Outcome(state="planned")))
    steps, values = only_run(results).curve("val/loss")
    assert len(steps) == len(values) == 0
    assert math.isnan(only_run(results).value(parse_metric("train/loss.mean")))


def test_probe_arrays_are_stacked_over_steps_and_heatmaps_kept_for_three_steps(tmp_path):
    results = collect(synthetic.write_study(tmp_path, synthetic.study(), lambda run: Outcome(rms=(0.1, 0.2, 0.3))))
    probes = only_run(results).probes
    assert probes["residual_rms"][0].tolist() == [0, 20, 40]
    assert probes["residual_rms"][1][-1] == pytest.approx([0.2, 0.4, 0.6])
    assert probes["update_ratio"][0].tolist() == [20, 40]
    assert probes["attention_heatmap"][0].tolist() == [0, 20, 40]
    assert probes["attention_heatmap"][1].shape == (3, 2, 2, 8, 8)


def test_heatmaps_are_kept_for_the_first_an_early_and_the_last_step():
    assert heatmap_steps(range(0, 2001, 100)) == [0, 200, 2000]
    assert heatmap_steps([0, 100]) == [0, 100]
    assert heatmap_steps([0]) == [0]
    assert heatmap_steps([]) == []


def test_studies_that_share_a_run_share_its_record(tmp_path):
    first = synthetic.write_study(tmp_path, synthetic.study(name="first"), lambda run: Outcome())
    placement = synthetic.study("model.norm_placement", ["pre", "post"], name="second")
    second = synthetic.write_study(tmp_path, placement, lambda run: Outcome())
    known = {}
    one, two = collect(first, known), collect(second, known)
    assert one.settings[0].groups[0].runs == two.settings[0].groups[0].runs
    assert len(known) == 3 * 3


def damage_rows(run):
    rows = run.metrics.read_text().splitlines(keepends=True)
    run.metrics.write_text("".join(rows[:-3]))


def damage_row(run):
    run.metrics.write_text(run.metrics.read_text().replace('"grad/norm":0.4', '"grad/norm":"two fifths"', 1))


def lose_values(run):
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    run.metrics.write_text("".join(json.dumps({**row, "val/loss": None}) + "\n" for row in rows))


def test_long_range_arrays_are_read_as_they_were_written_and_refused_when_corrupt(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda run: Outcome())
    run = only_run(collect(folder))
    planned = plan(synthetic.study(), synthetic.DATA)[0]
    for name, array in synthetic.long_range_arrays(planned).items():
        assert run.long_range[name].tolist() == array.astype(np.float64).tolist()
    path = run.folder.long_range
    assert path in run.folder.results()
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match=r"long_range\.safetensors: corrupt"):
        _ = only_run(collect(folder)).long_range


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_rows, "metrics.jsonl: corrupt, got 38 rows, must hold each step from 0 to 40 once"),
        (damage_row, "metrics.jsonl: corrupt, every row must hold a step, numbers and lists"),
        (lose_values, r"metrics.jsonl: corrupt, the run is done but has no finite val/loss.min"),
    ],
)
def test_a_done_run_whose_rows_are_corrupt_is_refused_by_name(tmp_path, damage, words):
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda run: Outcome())
    damage(only_run(collect(folder)).folder)
    results = collect(folder)
    with pytest.raises(InputError, match=words):
        only_run(results).value(results.metric)


def test_a_table_without_one_of_the_planned_runs_is_refused(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda run: Outcome())
    table = json.loads(folder.runs_json.read_text())
    folder.runs_json.write_text(json.dumps({**table, "runs": table["runs"][:-1]}))
    with pytest.raises(InputError, match=r"runs\.json: corrupt, names no run for optim\.clip = off, seed 2"):
        collect(folder)
    folder.runs_json.write_text(json.dumps({"runs": 3}))
    with pytest.raises(InputError, match=r"runs\.json: corrupt, must hold"):
        collect(folder)


def test_a_run_is_found_at_its_fingerprint(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda run: Outcome())
    for _, _, _, run in collect(folder).places():
        assert run.folder == run_at(tmp_path, run.fingerprint)
        assert run.info["fingerprint"] == run.fingerprint


DECLARED = {
    "name": "stream_mean", "title": "mean of the stream", "unit": "", "meaning": "0 is centred", "axes": ["depth"],
    "scale": "linear", "neutral": 0.0, "neutral_title": "", "summaries": [
        {"name": "stream_mean", "title": "stream mean", "unit": "", "meaning": "mean of the stream at the end",
         "steps": "last", "over": "mean"},
    ],
}  # fmt: skip


def test_a_run_says_itself_what_its_arrays_are(tmp_path):
    outcome = Outcome(changes={"arrays": [DECLARED]})
    folder = synthetic.write_study(tmp_path, synthetic.study(seeds=2), lambda run: outcome)
    for run in [run for _, _, _, run in collect(folder).places()]:
        arrays = load_arrays(run.folder.probe_file(40))
        save_arrays(run.folder.probe_file(40), {**arrays, "stream_mean": np.array([1.0, 2.0, 6.0])}, {})
    run = only_run(collect(folder))
    assert run.array("stream_mean").axes == ("depth",)
    assert run.secondary["stream_mean"] == 3.0
    assert "attention_entropy" not in run.secondary  # recorded, but nothing says how it is summarised
    assert run.array("attention_entropy").axes == ()


def test_a_run_whose_arrays_are_not_described_as_they_must_be_is_named(tmp_path):
    outcome = Outcome(changes={"arrays": [{**DECLARED, "axes": "depth"}]})
    run = only_run(collect(synthetic.write_study(tmp_path, synthetic.study(seeds=2), lambda run: outcome)))
    with pytest.raises(InputError, match=r"run\.json: corrupt, `arrays` must describe the recorded arrays"):
        _ = run.arrays
