"""What README.md, results/README.md and docs/limitations.md say by hand is what the findings say."""

import math

import pytest
from pages import figures_of
from published import LARGE, REPOSITORY, RESULTS, findings, prose

from gpt.analysis.contrast_findings import ContrastFindings
from gpt.analysis.outcomes import Baselines
from gpt.analysis.statistics.paired import paired_contrast
from gpt.analysis.statistics.variance import pairs_needed
from gpt.records.files import read_json
from gpt.report.pages.tables import row

BIGRAM = 2.4852841
"""loss of a model that counts pairs of characters, on the validation text of the published studies"""


@pytest.fixture(scope="module")
def said() -> str:
    return prose("results/README.md")


@pytest.fixture(scope="module")
def limits() -> str:
    return prose("docs/limitations.md")


def corrected(name: str) -> list[ContrastFindings]:
    return findings(name).contrasts


def share_better(*contrasts: ContrastFindings) -> list[tuple[str, float]]:
    """Verdict, and share of seeds in which the second variant does better."""
    return [(each.verdict, each.rank.probability_b_better) for each in contrasts]


def differences(contrasts: list[ContrastFindings]) -> list[float]:
    return [each.paired.mean_difference for each in contrasts]


def lowest_means(name: str) -> dict[str, float]:
    """Mean lowest validation loss of each variant in each setting, where there is one."""
    return {
        f"{variant.label}, {setting.label}": variant.mean.mean
        for setting in findings(name).settings
        for variant in setting.variants
        if variant.mean.n
    }


def test_which_placement_is_better_depends_on_the_rate() -> None:
    low, middle, high = corrected("normalization")
    assert share_better(low, middle) == [("different", 0.0), ("different", 1.0)]
    assert high.failures.failed_b == high.failures.n == 10
    assert high.failures.failed_a == 0
    lowest = {label: mean for name in LARGE for label, mean in lowest_means(name).items()}
    assert min(lowest, key=lambda label: lowest[label]) == "post, optim.lr = 0.003"


def test_post_ln_fails_by_a_gradient_that_fades_towards_the_input(said: str) -> None:
    page = (RESULTS / "normalization" / "report.html").read_text(encoding="utf-8")
    drawn = figures_of(page)["blocks"][2]["gradients"]
    pre, post = [
        {layer["name"].replace("block", "layer"): layer["mean"][-1] for layer in variant["layers"]} for variant in drawn
    ]
    first, *_, last = drawn[1]["layers"][1:]
    assert (first["name"], last["name"]) == ("block 0", "block 3")
    assert first["x"][0] == 50
    assert first["mean"][0] < 0.01 * last["mean"][0]
    assert 5 < first["high"][-1] / first["mean"][-1] < 15
    untrained = findings("normalization").settings[0].variants[1].gradient_quantiles.first_step
    assert untrained[1] == pytest.approx(untrained[4], rel=0.2)
    assert f"| Post-LN | {post['layer 0']:.0e} | {post['layer 3']:.2f} |" in said
    assert f"| Pre-LN | {pre['layer 0']:.2f} | {pre['layer 3']:.2f} |" in said
    post_events = findings("normalization").settings[2].variants[1].events
    assert (post_events["learned_nothing"].runs, post_events["nonfinite"].runs) == (10, 0)


def test_warm_up_gets_post_ln_to_learn_where_it_is_long_enough(said: str) -> None:
    assert [(each.b, each.verdict) for each in corrected("warmup")] == [
        ("100", "inconclusive"),
        ("500", "different"),
    ]
    (setting,) = findings("warmup").settings
    learned = [10 - sum(variant.failed) for variant in setting.variants]
    assert learned == [0, 1, 10]
    for variant, runs in zip(setting.variants, learned, strict=True):
        mean = f"{variant.mean.mean:.3f}" if runs else "-"
        assert f"| {variant.label} | {runs} | {mean} |" in said
    assert "none of ten runs without, one with 100 steps, all ten with 500" in prose("README.md")
    middle = findings("normalization").settings[1].variants[1].mean.mean
    assert f"without warm-up, Post-LN ends at {middle:.3f}" in said
    page = (RESULTS / "warmup" / "report.html").read_text(encoding="utf-8")
    runs = figures_of(page)["blocks"][0]["loss"]["train"][1]["runs"]
    losses = [dict(zip(run["x"], run["y"], strict=True)) for run in runs if run["diverged"]]  # means over 50 steps
    assert sum(loss[100] < 2.8 for loss in losses) == 6
    assert min(loss[step] for loss in losses for step in (1500, 2000)) > 3.2


def test_the_runs_that_were_trained_on_both_kinds_of_cores_failed_on_both() -> None:
    (*_, high), (again,) = findings("normalization").settings, findings("warmup").settings
    assert high.variants[1].runs == again.variants[0].runs
    assert sum(high.variants[1].failed) == sum(again.variants[0].failed) == 10


@pytest.mark.parametrize("name", [*LARGE, "baseline", "seed-variance", "warmup"])
def test_by_todays_rule_no_published_run_would_be_judged_differently(name: str) -> None:
    unigram = findings(name).data.unigram_loss
    most = unigram - Baselines(unigram, BIGRAM, unigram).enough
    for run in read_json(RESULTS / name / "runs.json"):
        assert (run["values"]["val/loss.last"] >= most) == (run["state"] == "diverged")


def test_rope_is_ahead_in_every_seed_and_by_more_the_higher_the_rate(said: str) -> None:
    rope = corrected("positions")
    assert share_better(*rope) == [("different", 1.0)] * 3
    leads = [dict(zip(each.seeds, each.paired.differences, strict=True)) for each in rope]
    low, middle, high = ([-lead[seed] for seed in sorted(lead)] for lead in leads)
    assert f"| the lowest rate | the middle rate | {growth(low, middle)} |" in said
    assert f"| the middle rate | the highest rate | {growth(middle, high)} |" in said


def growth(before: list[float], after: list[float]) -> str:
    """Mean of the paired differences with its 95 % interval."""
    paired = paired_contrast(before, after, None)
    return f"{paired.mean_difference:.3f} | [{paired.low:.3f}, {paired.high:.3f}]"


def test_what_may_have_weakened_an_opponent_is_said(limits: str) -> None:
    learned, rope = findings("baseline").settings[0].variants
    sinusoidal = findings("positions").settings[0].variants[0].mean.mean
    assert f"end at {sinusoidal:.3f}, learned ones of the baseline (three seeds, with warm-up) at" in limits
    assert f"with warm-up) at {learned.mean.mean:.3f}" in limits
    pre = findings("normalization").settings[0].variants[0].values[:3]
    gain = sum(pre) / 3 - rope.mean.mean
    assert f"end {gain:.3f} lower on average than the same seeds without" in limits


def test_clipping_lowers_the_loss_at_no_rate(said: str, limits: str) -> None:
    off = corrected("clipping")
    assert max(differences(off)) < 0
    assert [each.verdict for each in off] == ["inconclusive", "different", "different"]
    assert f"({off[0].paired.minimum_detectable_difference:.3f} was detectable)" in said
    costs = [f"{-difference:.3f}" for difference in differences(off)]
    assert f"costs Pre-LN {costs[1]} at the middle rate and {costs[2]} at the highest" in limits
    assert all(each.failures.failed_b == 0 for each in off)
    clipped = [setting.variants[0].secondary["clipped_share"].mean.mean for setting in findings("clipping").settings]
    assert clipped[0] > 0.95 > 0.06 > max(clipped[1:])


def test_attention_collapses_at_the_highest_rate_without_a_spike() -> None:
    runs = {
        variant.label: variant.events["entropy_collapse"].runs
        for name in ("positions", "clipping")
        for variant in findings(name).settings[2].variants
    }
    assert runs == {"sinusoidal": 9, "rope": 10, "1.0": 10, "off": 10}
    assert findings("warmup").settings[0].variants[2].events["entropy_collapse"].runs == 10
    for name in LARGE:
        assert all(v.events["spike"].count == 0 for v in findings(name).settings[2].variants)


def test_only_two_correlations_of_pairs_are_told_from_none(said: str) -> None:
    found = {
        (name, each.setting): each.paired.correlation
        for name in LARGE
        for each in corrected(name)
        if each.paired.n == 10
    }
    ends = {
        key: [math.tanh(math.atanh(r) + sign * 1.96 / math.sqrt(7)) for sign in (-1, 1)] for key, r in found.items()
    }
    assert f"lie between {min(found.values()):.2f} and {max(found.values()):.2f}" in said
    assert min(high - low for low, high in ends.values()) > 0.5
    assert len(ends) == 8
    middle, high = (math.atanh(found["clipping", setting]) for setting in ("optim.lr = 0.003", "optim.lr = 0.01"))
    assert high < 2.734 / math.sqrt(7) < middle  # the 95 % bound corrected for eight
    told = {key for key, (low, high) in ends.items() if low > 0 or high < 0}
    assert told == {("clipping", "optim.lr = 0.003"), ("clipping", "optim.lr = 0.01")}


def test_how_many_pairs_the_spread_of_each_study_asks_for(said: str) -> None:
    (crossed,) = findings("seed-variance").settings
    table, pairs = crossed.components.split.run.sd, crossed.components.pairs
    ten = findings("normalization").settings[0].variants[0].mean.sd
    lowest = sorted(corrected(name)[0].paired.sd_difference for name in LARGE)
    few, many = (pairs_needed(sd, 0.01) for sd in (lowest[0], lowest[-1]))
    ends = [end for each in pairs.values() for end in (each.low, each.high)]
    asked = f"{pairs['both'].sd} or {pairs['nothing'].sd} (intervals from {min(ends)} to {max(ends)})"
    assert f"| the 25 crossed runs about their mean | {table:.4f} | {asked} |" in said
    assert f"25 crossed runs](results/seed-variance/report.md) have a standard deviation of {table:.4f}" in prose(
        "README.md"
    )
    assert f"| ten seeds of the same configuration | {ten:.4f} | |" in said
    assert (
        f"| paired differences of the three studies | {lowest[0]:.4f} to {lowest[-1]:.4f} | {few} to {many} |" in said
    )


def test_the_gradient_of_rope_comes_from_nearer_characters() -> None:
    for setting in findings("positions").settings:
        sinusoidal, rope = (v.secondary["median_lookback"].mean.mean for v in setting.variants)
        assert rope < sinusoidal


def test_the_table_of_the_readme_is_that_of_the_findings() -> None:
    rows = []
    for name in ("baseline", "clipping", "normalization", "positions", "warmup"):
        for i, each in enumerate(map(row, corrected(name))):
            interval = each["95 % interval"]
            cells = (
                "" if i else f"[{name}](results/{name}/report.md)",
                each["comparison"],
                "-" if interval == "-" else f"{each['difference']} {interval}",
                each["corrected p"],
                each["failed"],
                each["verdict"],
            )
            rows.append(f"| {' | '.join(cells)} |")
    page = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if line.count("|") == 7][2:] == rows
