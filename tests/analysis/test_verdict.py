"""Claims about what one comparison allows to say, and about Holm's correction."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt.analysis.statistics.paired import paired_contrast
from gpt.analysis.statistics.verdict import holm, verdict

NAN = math.nan
unhurried = settings(deadline=None, max_examples=50)  # a busy machine is no failure


def corrected(differences: list[float], effect: float | None, p_adjusted: float | None = None, family: int = 1) -> str:
    contrast = paired_contrast(np.zeros(len(differences)), differences, effect)
    return verdict(contrast, contrast.p_sign_flip if p_adjusted is None else p_adjusted, contrast.p_equivalence, family)


SMALL = [0.010, 0.012, 0.009, 0.011, 0.010, 0.012, 0.008]


def test_the_two_answers_make_four_verdicts():
    assert corrected(SMALL, 0.005) == "different"
    assert corrected(SMALL, 0.05) == "different but smaller than matters"
    assert corrected([0.01, -0.01, 0.02, -0.02, 0.0, 0.01, -0.01], 0.05) == "equivalent"
    assert corrected([1.0, -1.0, 2.0, -2.0, 0.0, 1.0, -1.0], 0.05) == "inconclusive"


def test_difference_is_judged_on_the_corrected_p():
    assert corrected(SMALL, 0.005, p_adjusted=0.06) == "inconclusive"
    assert corrected(SMALL, 0.05, p_adjusted=0.06) == "equivalent"


def test_equivalence_needs_as_many_pairs_as_a_difference():
    for pairs in range(2, 6):
        assert corrected([0.0001, 0.0002, 0.0001, 0.0002, 0.0001][:pairs], 0.05) == "inconclusive"
        assert corrected([0.0] * pairs, 0.05) == "inconclusive"
    assert corrected([0.0001, -0.0002, 0.0001, -0.0002, 0.0001, -0.0002], 0.05) == "equivalent"


def test_in_a_larger_family_equivalence_needs_more_pairs():
    agreeing = [0.0001, -0.0002] * 4
    assert [corrected(agreeing[:7], 0.05, family=family) for family in (1, 3, 4)] == ["equivalent"] * 2 + [
        "inconclusive"
    ]
    assert corrected(agreeing, 0.05, family=6) == "equivalent"


def test_five_seeds_can_never_be_different_however_far_apart():
    assert corrected([10.0, 10.1, 10.2, 9.9, 9.8], 0.01) == "inconclusive"


def test_without_a_smallest_effect_nothing_is_equivalent():
    assert corrected([0.0] * 10, None) == "inconclusive"
    assert corrected(SMALL, None) == "different"


def test_equal_variants_are_equivalent():
    assert corrected([0.0] * 10, 0.01) == "equivalent"


@pytest.mark.parametrize("differences", [[], [0.0], [NAN] * 10])
def test_too_few_pairs_are_inconclusive(differences):
    assert corrected(differences, 0.01) == "inconclusive"


def test_survivors_cannot_vouch_for_a_failed_run():
    assert corrected([0.0] * 10 + [NAN], 0.01) == "inconclusive"
    assert corrected([*SMALL, NAN], 0.05) == "different"


def test_a_test_that_was_not_made_is_not_a_difference():
    assert corrected(SMALL, 0.005, p_adjusted=NAN) == "inconclusive"


def test_holm_worked_example():
    # sorted .005 .01 .03 .04 by 4 3 2 1: .02 .03 .06 .04, and .04 rises to .06 because it may not fall
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def rejected_step_by_step(p_values: list[float], alpha: float) -> set[int]:
    """Holm's procedure as he states it: the smallest at alpha / m, the next at alpha / (m - 1), until one fails."""
    rejected = set()
    for step, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[i] * (len(p_values) - step) > alpha:
            break
        rejected.add(i)
    return rejected


@unhurried
@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, alpha):
    adjusted = holm(p_values)
    assert {i for i, p in enumerate(adjusted) if p <= alpha} == rejected_step_by_step(p_values, alpha)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    by_p = [q for _, q in sorted(zip(p_values, adjusted, strict=True))]
    assert by_p == sorted(by_p)


@unhurried
@given(st.lists(st.one_of(st.floats(0, 1), st.just(NAN)), max_size=8))
def test_a_missing_p_stays_missing_and_is_not_counted(p_values):
    adjusted = holm(p_values)
    assert [math.isnan(p) for p in adjusted] == [math.isnan(p) for p in p_values]
    assert [p for p in adjusted if not math.isnan(p)] == holm([p for p in p_values if not math.isnan(p)])
