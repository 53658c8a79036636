"""Claims about failed runs: each counts as the unigram baseline, so that a contrast with them has a size and a p."""

import math
from pathlib import Path

import pytest
import synthetic
from scipy import stats
from synthetic import Outcome

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect
from gpt.analysis.contrast_findings import ContrastFindings
from gpt.analysis.findings import Findings
from gpt.report.pages.tables import row
from gpt.report.text.sentences import sentence
from gpt.study.plan import PlannedRun

UNIGRAM = 3.3
DATA = {
    "sha256": synthetic.DATA, "vocabulary": 9, "train_characters": 900, "val_characters": 100,
    "unigram_loss": UNIGRAM, "bigram_loss": 2.5, "unigram_losses": {"train/loss": 3.2, "val/loss": UNIGRAM},
}  # fmt: skip
A = (2.00, 2.03, 2.01, 2.06, 2.02, 2.04, 2.05)
B = (1.90, 1.91, 1.92, 1.93, 1.94, 1.95, 1.96)
NAN = {"state": "diverged", "why": "train/loss not finite at step 25", "nan_at": 25}
STUCK = {"state": "diverged", "why": "learned nothing"}


def found(folder: Path, how: dict[tuple[int, bool], dict[str, object]], metric: str = "val/loss.min") -> Findings:
    """Findings of seven seeds; `how` says of (seed, whether of the second variant) how a run ends."""

    def outcome(run: PlannedRun) -> Outcome:
        second = run.variant is None
        more: dict[str, object] = {"last_loss": (B if second else A)[run.seed], **how.get((run.seed, second), {})}
        return Outcome(changes={"data": DATA}, scale=1.0 if second else 0.5, norm=2.0, **more)  # type: ignore[arg-type]

    return build_findings(collect(synthetic.write_study(folder, synthetic.study(seeds=7, metric=metric), outcome)))


def only(findings: Findings) -> ContrastFindings:
    (contrast,) = findings.contrasts
    return contrast


def test_a_failed_run_counts_as_the_unigram_loss_with_size_interval_and_p(tmp_path: Path) -> None:
    findings = found(tmp_path, {(0, True): NAN, (3, False): STUCK})
    contrast = only(findings)
    a, b = [*A], [*B]
    b[0], a[3] = UNIGRAM, UNIGRAM
    differences = [y - x for x, y in zip(a, b, strict=True)]
    test = stats.ttest_1samp(differences, 0)
    assert contrast.paired.differences == pytest.approx(differences)
    assert (contrast.paired.n, contrast.paired.left_out) == (7, 0)
    assert contrast.paired.mean_difference == pytest.approx(sum(differences) / 7)
    assert (contrast.paired.low, contrast.paired.high) == pytest.approx(tuple(test.confidence_interval()))
    flips = stats.permutation_test((differences,), lambda x, axis: x.mean(axis), permutation_type="samples")
    assert (contrast.basis, contrast.p) == ("paired difference", pytest.approx(flips.pvalue))
    assert contrast.among_survivors is False
    assert contrast.failed_score == UNIGRAM
    first, second = findings.settings[0].variants
    assert (first.outcomes[3], second.outcomes[0]) == ("learned nothing", "non-finite")
    assert (first.scores, second.scores) == (pytest.approx(a), pytest.approx(b))
    assert first.mean.mean == pytest.approx(sum(a) / 7)


def test_a_table_shows_no_spread_of_scores(tmp_path: Path) -> None:
    scored, trained = (row(only(found(tmp_path / name, how))) for name, how in (("a", {(0, True): NAN}), ("b", {})))
    assert (scored["d_z"], scored["detectable"]) == ("-", "-")
    assert "-" not in (trained["d_z"], trained["detectable"])


def test_what_needs_no_score_stands_beside(tmp_path: Path) -> None:
    contrast = only(found(tmp_path, {(0, True): NAN, (3, False): STUCK}))
    assert contrast.survivors is not None
    assert (contrast.survivors.n, contrast.survivors.left_out) == (5, 2)
    assert contrast.survivors.mean_difference == pytest.approx(sum(B[i] - A[i] for i in (1, 2, 4, 5, 6)) / 5)
    assert (contrast.rank.wins, contrast.rank.losses) == (6, 1)
    assert (contrast.failures.failed_a, contrast.failures.failed_b) == (1, 1)
    said = sentence(contrast, found(tmp_path / "again", {}).study.metric)
    assert "`off` failed in 1 of 7 runs, `1.0` in 1 (McNemar's exact p = 1.000), each counted as" in said
    assert "`off` is better in 6 seeds and worse in 1 (sign test p = 0.125)" in said
    assert "in the 5 pairs that trained it is 0.0940 nats per character lower" in said


def test_a_variant_that_always_fails_is_worse_by_a_size(tmp_path: Path) -> None:
    contrast = only(found(tmp_path, {(seed, True): NAN for seed in range(7)}))
    assert (contrast.verdict, contrast.p) == ("different", 2 / 128)
    assert contrast.paired.mean_difference == pytest.approx(UNIGRAM - sum(A) / 7)
    assert contrast.simultaneous is not None
    assert contrast.simultaneous.low > 0


def test_variants_that_both_always_fail_are_not_called_equivalent(tmp_path: Path) -> None:
    contrast = only(found(tmp_path, {(seed, second): NAN for seed in range(7) for second in (False, True)}))
    assert contrast.paired.p_equivalence == 0
    assert (contrast.verdict, contrast.p) == ("inconclusive", 1)


def test_a_failed_run_is_never_scored_better_than_one_that_did_not_fail(tmp_path: Path) -> None:
    """Short runs may all be worse than counting characters."""
    slow = {(seed, False): {"last_loss": 3.9 + seed / 100} for seed in range(7)}
    contrast = only(found(tmp_path, {**slow, **{(seed, True): NAN for seed in range(7)}}))
    assert contrast.failed_score == 3.96
    assert contrast.paired.mean_difference >= 0


def test_a_metric_that_is_no_loss_gives_no_score_and_ranks_decide(tmp_path: Path) -> None:
    contrast = only(found(tmp_path, {(0, True): NAN}, "grad/norm.last"))
    assert (contrast.among_survivors, contrast.basis) == (True, "rank, failure worst")
    assert math.isnan(contrast.failed_score)


def test_without_a_failed_run_nothing_is_scored(tmp_path: Path) -> None:
    contrast = only(found(tmp_path, {}))
    assert contrast.survivors is None
    assert math.isnan(contrast.failed_score)
    assert "none of the 14 runs failed" in sentence(contrast, found(tmp_path / "again", {}).study.metric)


def test_a_missing_run_beside_failed_ones_is_left_out_and_said(tmp_path: Path) -> None:
    findings = found(tmp_path, {(0, True): NAN, (6, False): {"state": "planned"}, (5, True): {"state": "failed"}})
    contrast = only(findings)
    assert contrast.seeds == [0, 1, 2, 3, 4]
    assert not findings.complete
    assert sentence(contrast, findings.study.metric).startswith("Incomplete, 5 of 7 pairs: ")
    second = findings.settings[0].variants[1]
    assert second.outcomes == ["non-finite", *["done"] * 4, None, "done"]
    assert second.states[5] == "failed"
