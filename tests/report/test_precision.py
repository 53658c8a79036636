"""Claims about the section on how sure a study is, and the figure of its power."""

import math

import numpy as np
import pytest
import synthetic
from published import findings as published
from synthetic import Outcome

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect
from gpt.analysis.statistics.power import power
from gpt.analysis.verdicts import needed
from gpt.report.figures.catalogue import View
from gpt.report.figures.power import PAIRS, power_curves
from gpt.report.pages.precision import precision_section
from gpt.report.pages.study import RunLinks, page
from gpt.report.pages.tables import p_note
from gpt.report.text.precision import look_words

RNG = np.random.default_rng(9)
A = 2.0 + 0.02 * RNG.normal(size=12)
SKEWED = 0.02 * np.array([0.1, 0.12, 0.09, 0.1, 0.11, 0.1, 0.12, 0.08, 0.1, 0.11, 0.1, 1.8])
"""one seed far from the others"""
EVEN = 0.002 * np.resize([1.0, -1.0], 12)


def results(tmp_path, differences, **more):
    def outcome(run):
        number = ["sinusoidal", *differences].index(run.variant)
        return Outcome(float(A[run.seed] + [0 * A, *differences.values()][number][run.seed]), probes=False)

    planned = synthetic.study("model.position", ["sinusoidal", *differences], seeds=12, **more)
    return needed(collect(synthetic.write_study(tmp_path, planned, outcome)))


def text(found):
    return page(found, {}, RunLinks(lambda words, _: words, ""))


def test_the_section_gives_every_interval_and_note(tmp_path):
    found = build_findings(results(tmp_path, {"rope": EVEN + 0.05, "learned": SKEWED}))
    said = "\n".join(precision_section(found))
    assert said in text(found)
    for each in found.contrasts:
        assert f"[{each.simultaneous.low:+.4f}, {each.simultaneous.high:+.4f}]" in said
        assert f"[{each.equivalence.low:+.4f}, {each.equivalence.high:+.4f}]" in said
        needed_pairs = each.planning.smallest_effect[1]
        assert f"{needed_pairs.pairs} [{needed_pairs.low}, {needed_pairs.high}]" in said
    assert "from 7 pairs on" in said
    assert "**skewed**: the differences of `learned` from `sinusoidal` are skewed (+3." in said
    assert "differences of `rope`" not in said
    assert f"standard deviation of {found.settings[0].noise_floor.sd:.4f} nats per character" in said
    assert "looks" not in said


def test_a_difference_that_only_the_test_of_symmetry_finds_is_taken_with_care(tmp_path):
    left = 0.04 * np.array([1.6, 1.7, 1.6, 1.5, 1.6, 1.7, 1.6, 1.7, 1.5, 1.6, 0.3, -0.9])
    found = build_findings(results(tmp_path, {"rope": left, "learned": EVEN + 0.05}))
    said = "\n".join(precision_section(found))
    assert [each.verdict for each in found.contrasts] == ["different", "different"]
    assert found.contrasts[0].shape.p_hall > 0.025
    assert said.count("the difference should be taken with care") == 1


@pytest.mark.parametrize(
    ("looks", "words"),
    [
        ([5, 9, 12], "Look 2 of 3, at 9 pairs, ended the study: every contrast has a verdict"),
        ([5, 12], "Look 2 of 2, at 12 pairs, ended the study: every contrast has a verdict"),
    ],
)
def test_the_page_says_which_look_ended_it(tmp_path, looks, words):
    found = build_findings(results(tmp_path, {"rope": EVEN + 0.05}, looks=looks))
    assert look_words(found) == words
    said = text(found)
    assert f"\n{words}.\n" in said
    assert "one contrast, so uncorrected" not in p_note([found])
    assert "corrected for looks; intervals" in p_note([found])
    for look in found.looks:
        assert f"at most {look.bound_first:.2g} and {look.bound_last:.2g} at {look.pairs} pairs" in said


def test_the_page_says_that_the_last_look_settled_nothing(tmp_path):
    found = build_findings(results(tmp_path, {"rope": 10 * EVEN}, looks=[5, 12]))
    assert look_words(found) == "Look 2 of 2, at 12 pairs, left 1 contrast without a verdict; it was the last"


def test_findings_that_were_made_before_have_no_such_section():
    assert all(precision_section(published(name)) == [] for name in ("clipping", "seed-variance"))


def test_the_figure_draws_the_power_that_the_tests_have(tmp_path):
    read = results(tmp_path, {"rope": EVEN + 0.05})
    found = build_findings(read)
    (contrast,) = found.contrasts
    figure = power_curves(View(read, found))
    smallest, observed = figure.panels[0].marks[:2]
    at = list(PAIRS).index(20)
    assert smallest.y[at] == pytest.approx(power(20, 0.01 / contrast.paired.sd_difference), rel=1e-4)
    assert smallest.low[at] <= smallest.y[at] <= smallest.high[at]
    assert observed.y[at] >= smallest.y[at]
    assert smallest.y[0] == 0  # three pairs of which sign flips can make nothing
    assert all(math.isfinite(value) for value in smallest.y)


def test_a_study_with_less_than_two_pairs_has_no_such_figure(tmp_path):
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda run: Outcome(state="planned"))
    read = collect(folder)
    assert power_curves(View(read, build_findings(read))) is None
