import json
import math
import random

import numpy as np
import pytest
import synthetic
from synthetic import STEPS, Outcome

from gpt.analysis.collect import collect, heatmap_steps
from gpt.errors import InputError
from gpt.records.schema import parse_metric
from gpt.study.folder import cell_at
from gpt.study.plan import plan


def only_cell(results):
    """The first planned cell's record and folder."""
    return next(cell for _, _, _, cell in results.places())


def test_cells_come_in_the_order_of_the_study_whatever_the_order_of_the_table(tmp_path):
    planned = synthetic.study(seeds=4, blocks={"optim.lr": [1e-3, 3e-3]})
    folder = synthetic.write_study(tmp_path, planned, lambda cell: Outcome(2 + cell.seed / 8 + (cell.variant or 0)))
    table = json.loads(folder.cells_json.read_text())
    random.Random(0).shuffle(table["cells"])
    folder.cells_json.write_text(json.dumps(table))
    results = collect(folder)
    assert [block.label for block in results.blocks] == ["optim.lr = 0.001", "optim.lr = 0.003"]
    for block in results.blocks:
        assert [group.label for group in block.groups] == ["1.0", "off"]
        for group in block.groups:
            values = [cell.value(results.metric) for cell in group.cells]
            assert values == [2 + seed / 8 + (group.variant or 0) for seed in range(4)]
            assert [cell.run["seed"] for cell in group.cells] == [0, 1, 2, 3]


def test_every_planned_cell_is_there_with_its_state_and_only_finished_ones_have_a_value(tmp_path):
    states = {0: "done", 1: "diverged", 2: "failed", 3: "running", 4: "planned"}
    folder = synthetic.write_study(
        tmp_path,
        synthetic.study(seeds=5),
        lambda cell: Outcome(state=states[cell.seed], why="" if cell.seed in (0, 3) else "said why"),
    )
    results = collect(folder)
    group = results.blocks[0].groups[0]
    assert [cell.status.state for cell in group.cells] == list(states.values())
    assert [cell.finished for cell in group.cells] == [True, True, False, False, False]
    assert [math.isfinite(cell.value(results.metric)) for cell in group.cells] == [True, True, False, False, False]
    assert [cell.begun for cell in group.cells] == [True, True, True, True, False]
    assert group.survivors == [group.cells[0]]
    assert group.shown_runs == "1 run"


def test_means_fall_back_on_diverged_runs_only_where_no_run_survived(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda cell: Outcome(state="diverged", why="stuck"))
    group = collect(folder).blocks[0].groups[0]
    assert group.survivors == []
    assert group.shown == list(group.cells)
    assert group.shown_runs == "3 diverged runs"


def test_secondary_scalars_are_those_counted_by_hand(tmp_path):
    outcome = Outcome(1.5, norm=2.5, scale=0.4, first_loss=3.0, spikes=2, collapses=1, logit=5.0, rms=(0.1, 0.3, 0.2))
    folder = synthetic.write_study(tmp_path, synthetic.study(seeds=2), lambda cell: outcome)
    found = only_cell(collect(folder)).secondary
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
        "entropy_collapses": 1,
        "attention_entropy": 1.3 - 0.4,
        "attention_logit_max": 5.0,
        "attention_previous": 0.2 + 0.3,
        "attention_induction": 0.1 + 0.6,
        "residual_growth": 2.0,
        "residual_kurtosis": 3.0,
        "dead_share": 0.05,
        "context_cut": math.nan,
        "beyond_context": (2.3 + 0.2 * 4.5) - (3.0 - 0.1 * 5.5),
        "half_length": 3,
    }, nan_ok=True)  # fmt: skip


def test_a_run_that_recorded_nothing_but_rows_has_no_other_scalars(tmp_path):
    outcome = Outcome(probes=False, long_range=False)
    cell = only_cell(collect(synthetic.write_study(tmp_path, synthetic.study(seeds=2), lambda cell: outcome)))
    assert cell.long_range is None
    assert cell.probes == {}
    missing = {name for name, value in cell.secondary.items() if math.isnan(value)}
    assert missing >= {"attention_entropy", "attention_logit_max", "residual_growth", "dead_share", "half_length"}
    assert math.isfinite(cell.secondary["val/loss.last"])


def test_a_run_without_a_scaled_step_has_no_clip_scale_rather_than_one(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(seeds=2), lambda cell: Outcome(scale=1.0))
    found = only_cell(collect(folder)).secondary
    assert found["clipped_share"] == 0
    assert math.isnan(found["clip_scale_mean"])


def test_curves_keep_what_was_not_finite_as_nan(tmp_path):
    outcome = Outcome(state="diverged", why="train/loss not finite at step 13", nan_at=13)
    folder = synthetic.write_study(tmp_path, synthetic.study(seeds=2), lambda cell: outcome)
    steps, values = only_cell(collect(folder)).curve("train/loss")
    assert steps.tolist() == list(range(1, 14))
    assert np.isfinite(values).tolist() == [True] * 12 + [False]
    assert only_cell(collect(folder)).curve("grad/layer_norm")[1].shape == (13, 4)


def test_a_key_that_was_never_recorded_has_an_empty_curve_and_no_value(tmp_path):
    results = collect(synthetic.write_study(tmp_path, synthetic.study(), lambda cell: Outcome(state="planned")))
    steps, values = only_cell(results).curve("val/loss")
    assert len(steps) == len(values) == 0
    assert math.isnan(only_cell(results).value(parse_metric("train/loss.mean")))


def test_probe_arrays_are_stacked_over_steps_and_heatmaps_kept_for_three_steps(tmp_path):
    results = collect(synthetic.write_study(tmp_path, synthetic.study(), lambda cell: Outcome(rms=(0.1, 0.2, 0.3))))
    probes = only_cell(results).probes
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


def test_studies_that_share_a_cell_share_its_record(tmp_path):
    first = synthetic.write_study(tmp_path, synthetic.study(name="first"), lambda cell: Outcome())
    placement = synthetic.study("model.norm_placement", ["pre", "post"], name="second")
    second = synthetic.write_study(tmp_path, placement, lambda cell: Outcome())
    known = {}
    one, two = collect(first, known), collect(second, known)
    assert one.blocks[0].groups[0].cells == two.blocks[0].groups[0].cells
    assert len(known) == 3 * 3


def damage_rows(cell):
    rows = cell.metrics.read_text().splitlines(keepends=True)
    cell.metrics.write_text("".join(rows[:-3]))


def damage_row(cell):
    cell.metrics.write_text(cell.metrics.read_text().replace('"grad/norm":0.4', '"grad/norm":"two fifths"', 1))


def lose_values(cell):
    rows = [json.loads(line) for line in cell.metrics.read_text().splitlines()]
    cell.metrics.write_text("".join(json.dumps({**row, "val/loss": None}) + "\n" for row in rows))


def test_long_range_arrays_are_read_as_they_were_written_and_refused_when_damaged(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda cell: Outcome())
    cell = only_cell(collect(folder))
    planned = plan(synthetic.study(), synthetic.DATA)[0]
    for name, array in synthetic.long_range_arrays(planned).items():
        assert cell.long_range[name].tolist() == array.astype(np.float64).tolist()
    path = cell.cell.long_range
    assert path in cell.cell.results()
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match=r"long_range\.safetensors: damaged"):
        _ = only_cell(collect(folder)).long_range


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_rows, "metrics.jsonl: damaged, got 38 rows, must hold each step from 0 to 40 once"),
        (damage_row, "metrics.jsonl: damaged, every row must hold a step, numbers and lists"),
        (lose_values, r"metrics.jsonl: damaged, the cell is done but has no finite val/loss.min"),
    ],
)
def test_a_done_cell_whose_rows_are_damaged_is_refused_by_name(tmp_path, damage, words):
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda cell: Outcome())
    damage(only_cell(collect(folder)).cell)
    results = collect(folder)
    with pytest.raises(InputError, match=words):
        only_cell(results).value(results.metric)


def test_a_table_without_one_of_the_planned_cells_is_refused(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda cell: Outcome())
    table = json.loads(folder.cells_json.read_text())
    folder.cells_json.write_text(json.dumps({**table, "cells": table["cells"][:-1]}))
    with pytest.raises(InputError, match=r"cells\.json: damaged, names no cell for optim\.clip = off, seed 2"):
        collect(folder)
    folder.cells_json.write_text(json.dumps({"cells": 3}))
    with pytest.raises(InputError, match=r"cells\.json: damaged, must hold"):
        collect(folder)


def test_a_cell_is_found_at_its_fingerprint(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda cell: Outcome())
    for _, _, _, cell in collect(folder).places():
        assert cell.cell == cell_at(tmp_path, cell.fingerprint)
        assert cell.run["fingerprint"] == cell.fingerprint
