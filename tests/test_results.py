"""Claims about the committed evidence: the pages say what the results say, and the results hold up."""

import re
from pathlib import Path

import pytest
from chaos import sentence
from published import LARGE, RESULTS, findings, prose

from gpt.records.files import read_json
from gpt.report.publish import update
from gpt.runner.checks.verify import verify
from gpt.study.study_file import load_study

PUBLISHED = sorted(path.parent for path in RESULTS.glob("*/findings.json"))
HALF_AN_HOUR = 1800
"""seconds that a whole `make chaos` may take on two cores"""
NANOGPT_TARGET = 1.91
"""nats per character over the whole validation split; a checkpoint of nanoGPT's own code, one seed, has 1.898"""


def test_the_three_questions_and_what_bears_on_them_are_published() -> None:
    assert {path.name for path in PUBLISHED} == {*LARGE, "baseline", "seed-variance", "warmup"}


def test_the_page_of_the_results_says_what_they_say() -> None:
    update(RESULTS / "README.md", RESULTS, check=True)


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_a_published_study_is_complete_controlled_and_can_be_run_again(folder: Path, repository: Path) -> None:
    found = findings(folder.name)
    assert found.complete
    assert found.control.holds
    assert all(setting.treatment.holds for setting in found.settings)
    assert found.stack_differences == {}
    shipped = [load_study(path) for path in (repository / "configs" / "studies").rglob("*.yaml")]
    assert load_study(folder / "study.yaml") in shipped


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_every_value_of_the_findings_is_in_the_summary_of_its_run(folder: Path) -> None:
    found = findings(folder.name)
    metric = found.study.metric.name
    summary = {entry["run"]: entry for entry in read_json(folder / "runs.json")}
    for setting in found.settings:
        for variant in setting.variants:
            for value, fingerprint in zip(variant.values, variant.runs, strict=True):
                assert summary[fingerprint]["values"][metric] == value
                assert len(summary[fingerprint]["final_weights_sha256"]) == 64


def test_the_pages_say_what_was_seen_on_a_gpu() -> None:
    seen = read_json(RESULTS / "gpu" / "baby_gpt.json")
    runs = [sorted((loss, step) for step, loss in run["val_loss"])[0] for run in seen["pre_layer_norm"]]
    losses = [loss for loss, _ in runs]
    limits, speed = prose("docs/limitations.md"), prose("docs/performance.md")
    assert (len(runs), {step for _, step in runs}) == (10, {1250, 1500})
    assert f"| mean of ten seeds | {sum(losses) / 10:.4f} |" in limits
    assert f"| lowest and highest | {min(losses):.4f}, {max(losses):.4f} |" in limits
    assert f"{seen['stack']['device']} with torch {seen['stack']['torch']}" in limits
    each = {t["compiled"]: t["step_milliseconds"] / t["seeds_together"] for t in seen["step_times"][1:3]}
    assert (
        f"ten seeds together, compiled | {each[True]:.1f} ms a seed and step | one {seen['stack']['device']}" in speed
    )
    assert f"six seeds together, not compiled | {each[False]:.1f} ms a seed and step" in speed
    assert [t["seeds_together"] for t in seen["step_times"][1:3]] == [10, 6]
    assert len(seen["post_layer_norm"]["ten_seeds"]) == 10
    assert seen["tests"]["passed"] == 4


def test_the_page_says_what_a_step_on_a_cpu_took() -> None:
    seen, speed = read_json(RESULTS / "performance" / "nanogpt_cpu.json"), prose("docs/performance.md")
    step = seen["steps"][0]
    for what, spread, factor, digits, unit in (
        ("a step of nanoGPT's recipe", step["seconds"], 1e3, 1, " ms"),
        ("nanoGPT's own, in turns with it", seen["against"]["seconds"], 1e3, 1, " ms"),
        ("tokens a second over nanoGPT's", step["over_nanogpt"], 1, 2, ""),
    ):
        low, median, high = (f"{factor * spread[key]:.{digits}f}" for key in ("low", "median", "high"))
        assert f"| {what} | {median} ({low} to {high}){unit} |" in speed
    ceiling = f"{seen['ceiling']['flops_per_second'] / 1e9:.0f} GFLOP/s | {100 * step['utilisation']:.0f} %"
    assert f"| share of the ceiling of {ceiling} |" in speed
    share = {part["name"]: 100 * part["share"] for part in seen["parts"]}
    besides = share["all probes"] + share["update ratios"] + share["sample"] + share["use of context"]
    assert f"| evaluations, nine, of the steps' time | {share['evaluation']:.1f} % |" in speed
    assert f"| probes, update ratios, sample and use of context, of the steps' time | {besides:.1f} % |" in speed
    written = share["recording 50 steps"] + share["checkpoint"]
    assert f"| recording and checkpoints, of the steps' time | {written:.2f} % |" in speed
    assert f"; {share['evaluation'] + besides:.1f} % in the file above, on the busy machine" in speed
    assert seen["machine"]["dirty"] is False


def test_the_page_says_what_the_simulation_found() -> None:
    seen, speed = read_json(RESULTS / "performance" / "scale.json"), prose("docs/performance.md")
    assert [one["gpus"] for one in seen["simulated"]] == [8, 64, 1024]
    assert {one["first_bottleneck"] for one in seen["simulated"]} == {"evaluation"}
    assert {f"{one['evaluation']:.0%}" for one in seen["simulated"]} == {"18%"}
    last = seen["simulated"][-1]
    assert {f"{one['idle']:.0%}" for one in seen["simulated"]} == {"16%", "17%"}
    assert (f"{last['start_up']:.0%}", last["commits"] < 0.01) == ("2%", True)
    assert "evaluations and probes are first from 8 to 1,024 processes with 18 %" in speed
    assert "round of runs with 16 to 17 %; start-up has 2 % at 1,024 processes" in speed


def test_nanogpts_recipe_reaches_nanogpts_loss() -> None:
    learned = findings("baseline").settings[0].variants[0]
    assert learned.label == "learned"
    assert len(learned.values) == 3
    assert sum(learned.values) / 3 <= NANOGPT_TARGET


def test_the_pages_state_the_baselines_means() -> None:
    learned, rope = (variant.mean.mean for variant in findings("baseline").settings[0].variants)
    assert f"nanoGPT's CPU recipe gives {learned:.4f}" in prose("README.md")
    page = prose("results/README.md")
    assert f"nanoGPT's recipe here, mean of three seeds, whole validation split | {learned:.4f} |" in page
    assert f"rotary positions here, mean of three seeds, whole validation split | {rope:.4f} |" in page


def test_the_pages_state_what_became_of_the_faults(repository: Path) -> None:
    found = read_json(RESULTS / "faults/faults.json")
    text = (repository / "docs/fault-tolerance.md").read_text()
    assert text.split("<!-- faults:begin -->\n")[1].split("\n<!-- faults:end -->")[0] == sentence(found)
    total, speed = found["total"], prose("docs/performance.md")
    made = f"all of {total['injected']:,} faults in {len(found['classes'])} classes"
    assert f"with version {found['source']['gpt']}, {made} were survived" in prose("README.md")
    assert f"Probes and checkpoints were measured with version {found['source']['gpt']}" in speed
    for measured in found["measured"].values():
        assert f"| {measured.partition(' of ')[0]} of " in speed
    assert total["injected"] >= 2000
    assert total["survived"] == total["injected"]
    assert found["safeguards"]["noticed"] == found["safeguards"]["taken out"] > 0
    assert found["tests failed"] == 0
    assert found["seconds"] < HALF_AN_HOUR
    for tally in found["classes"].values():
        lost = [value for what, value in tally["worst"].items() if re.search("lost|used", what)]
        assert set(lost) <= {0}


def test_everything_published_is_as_it_was_written() -> None:
    assert verify(RESULTS).wrong == []


def test_the_evidence_is_small() -> None:
    assert sum(path.stat().st_size for path in RESULTS.rglob("*") if path.is_file()) < 20e6
