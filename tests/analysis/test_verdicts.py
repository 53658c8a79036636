"""Claims about a study's verdicts: with looks it ends where every contrast has one."""

import json
import math

import numpy as np
import pytest
import synthetic
from synthetic import Outcome

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect
from gpt.analysis.findings import Findings
from gpt.analysis.statistics.sequential import bounds, sequential_p
from gpt.analysis.statistics.verdict import holm
from gpt.analysis.verdicts import needed, settled
from gpt.records.files import write_json
from gpt.report.pages.provenance import rerun_files

LOOKS = (3, 8, 12)
A = 2.0 + 0.01 * np.random.default_rng(6).normal(size=12)
NEAR = 0.001 * np.random.default_rng(7).normal(size=12)
"""differences that are all within the smallest effect"""


def started(tmp_path, differences, done=12, looks=LOOKS, **more):
    """A study of two variants whose first seeds are done, and the second variant's values lie so much above."""

    def outcome(run):
        if run.seed >= done:
            return Outcome(state="planned")
        return Outcome(float(A[run.seed] + (run.variant is None) * differences[run.seed]), probes=False)

    planned = synthetic.study(seeds=12, looks=list(looks), **more)
    return synthetic.write_study(tmp_path, planned, outcome)


def found(folder):
    return build_findings(needed(collect(folder)))


@pytest.mark.parametrize(
    ("differences", "seeds", "verdict"),
    [(0.5 + NEAR, 8, "different"), (NEAR, 8, "equivalent"), (0.03 * np.resize([1, -1], 12), 12, "inconclusive")],
)
def test_a_study_ends_at_the_look_that_gives_every_contrast_a_verdict(tmp_path, differences, seeds, verdict):
    findings = found(started(tmp_path, differences))
    assert findings.study.seeds == list(range(seeds))
    assert findings.study.planned_seeds == list(range(12))
    assert [each.verdict for each in findings.contrasts] == [verdict]
    assert [each.pairs for each in findings.looks] == list(LOOKS)
    assert findings.looks[0].verdicts == ["inconclusive"]  # three pairs can never tell
    assert [bool(each.verdicts) for each in findings.looks] == [True, True, seeds == 12]
    assert findings.looks[LOOKS.index(seeds)].verdicts == [verdict]
    assert findings.complete


def test_the_p_is_that_of_all_looks_so_far(tmp_path):
    contrast = found(started(tmp_path, 0.5 + NEAR)).contrasts[0]
    assert contrast.p == 2 / 2**8
    assert contrast.p_adjusted == sequential_p([0.25, 2 / 2**8], LOOKS) > contrast.p
    assert contrast.p <= bounds(LOOKS)[1]
    assert contrast.simultaneous.low == pytest.approx(0.5 + np.sort(NEAR[:8])[:2].mean(), abs=0.001)


@pytest.mark.parametrize(("done", "wanted"), [(0, 3), (2, 3), (3, 8), (7, 8), (8, 8), (12, 8)])
def test_what_is_needed_are_the_seeds_up_to_the_next_look_and_none_after_the_last(tmp_path, done, wanted):
    results = needed(collect(started(tmp_path, 0.5 + NEAR, done)))
    assert len(results.study.seeds) == wanted
    assert settled(results) == (done >= 8)


def test_between_looks_there_is_no_verdict(tmp_path):
    findings = found(started(tmp_path, 0.5 + NEAR, done=6))
    assert findings.contrasts[0].paired.n == 6
    assert findings.contrasts[0].p_adjusted == sequential_p([0.25], LOOKS) == 1.0
    assert findings.contrasts[0].verdict == "inconclusive"
    assert not findings.complete
    findings = found(started(tmp_path / "first", 0.5 + NEAR, done=2))
    assert math.isnan(findings.contrasts[0].p_adjusted)
    assert math.isnan(findings.contrasts[0].simultaneous.low)
    assert findings.contrasts[0].verdict == "inconclusive"


def test_findings_with_looks_can_be_read_and_run_again(tmp_path):
    folder = started(tmp_path, 0.5 + NEAR)
    findings = found(folder)
    write_json(tmp_path / "findings.json", findings.model_dump())
    assert Findings.read(tmp_path / "findings.json").looks == findings.looks
    text = rerun_files(findings.study)["study.yaml"]
    assert "looks: [3, 8, 12]" in text
    assert "seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]" in text


def test_a_study_without_looks_says_nothing_of_them(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda run: Outcome(2.0, probes=False))
    assert "looks" not in folder.study_yaml.read_text()
    findings = found(folder)
    assert (findings.looks, findings.study.looks, findings.study.planned_seeds) == ([], [], [])
    assert "looks" not in rerun_files(findings.study)["study.yaml"]


def test_findings_without_the_newer_fields_are_read(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda run: Outcome(2.0, probes=False))
    whole = json.loads(
        write_json(tmp_path / "new.json", found(folder).model_dump()) or (tmp_path / "new.json").read_text()
    )
    for setting in whole["settings"]:
        del setting["noise_floor"]
        for contrast in setting["contrasts"]:
            for name in ("simultaneous", "equivalence", "shape"):
                del contrast[name]
    del whole["looks"], whole["study"]["looks"], whole["study"]["planned_seeds"]
    write_json(tmp_path / "old.json", whole)
    old = Findings.read(tmp_path / "old.json")
    assert old.contrasts[0].equivalence is None
    assert old.settings[0].noise_floor is None


def test_equal_claims_are_corrected_for_their_number_too(tmp_path):
    spread = {"rope": 0.9, "learned": 1.0, "none": 4.0}
    signs = np.array([1, -1, 1, -1, 1, -1, 0.5, -0.5])

    def outcome(run):
        return Outcome(float(A[run.seed] + 0.0085 * spread.get(run.variant, 0) * signs[run.seed]), probes=False)

    variants = ["sinusoidal", *spread]
    folder = synthetic.write_study(tmp_path, synthetic.study("model.position", variants, seeds=8), outcome)
    contrasts = found(folder).contrasts
    p = [each.paired.p_equivalence for each in contrasts]
    assert [each.equivalence.p for each in contrasts] == p
    assert [each.equivalence.p_adjusted for each in contrasts] == holm(p)
    assert all(each.equivalence.fewest_pairs == 7 for each in contrasts)
    for each in contrasts:
        within = -0.01 < each.equivalence.low <= each.equivalence.high < 0.01
        assert within == (each.equivalence.p <= 0.05)
        assert (each.verdict == "equivalent") == (each.equivalence.p_adjusted <= 0.05)


@pytest.mark.parametrize(
    ("looks", "words"),
    [
        ([3, 7], "looks: got \\[3, 7\\], must be rising numbers of seeds, from 2 to all 12"),
        ([7, 3, 12], "must be rising"),
        ([1, 12], "must be rising"),
        ([5, 5, 12], "must be rising"),
    ],
)
def test_looks_rise_to_all_seeds(looks, words):
    with pytest.raises(Exception, match=words):
        synthetic.study(seeds=12, looks=looks)


def test_a_study_of_seeds_has_no_looks():
    with pytest.raises(Exception, match="has no contrasts to look at"):
        synthetic.study("data.order_seed", [0, 1, 2], seeds=3, looks=[2, 3])
