"""Main effects and interactions on paired seeds: what they are, that they are corrected together, how they are told."""

from pathlib import Path

import numpy as np
import pytest
import synthetic
from pages import Parsed
from scipy import stats
from synthetic import Outcome

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect
from gpt.analysis.findings import Findings
from gpt.records.files import read_json
from gpt.report.answer import answer_of
from gpt.report.build import TO_FOLDERS, build_report
from gpt.report.pages.effects import effects_table
from gpt.report.pages.tables import verdict_sentences
from gpt.study.folder import StudyFolder
from gpt.study.plan import PlannedRun

SEEDS = 8
WARMUP = "optim.warmup_steps"
FACTORS = {"settings": {WARMUP: [0, 10]}, "factors": ["optim.clip", WARMUP]}
CELL = {(1.0, 0): 2.0, (None, 0): 2.3, (1.0, 10): 1.9, (None, 10): 1.95}
"""mean loss by limit and warm-up: taking the limit away costs .3 without warm-up and .05 with it"""
NOISE = np.random.default_rng(0).normal(0, 0.01, (SEEDS, 2, 2))


def loss(run: PlannedRun) -> float:
    warmup = dict(run.setting)[WARMUP]
    return CELL[run.variant, warmup] + float(NOISE[run.seed, int(run.variant is None), warmup // 10])


def write(out: Path, **more: object) -> StudyFolder:
    study = synthetic.study(seeds=SEEDS, **{**FACTORS, **more})
    return synthetic.write_study(out, study, lambda run: Outcome(last_loss=loss(run)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    return write(tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def findings(folder: StudyFolder) -> Findings:
    return build_findings(collect(folder))


def table() -> np.ndarray:
    """Seeds, limit or none, without or with warm-up."""
    cells = np.array([[CELL[1.0, 0], CELL[1.0, 10]], [CELL[None, 0], CELL[None, 10]]])
    return cells + NOISE


def test_effects_are_the_paired_differences_of_the_cells(findings: Findings) -> None:
    y = table()
    clip, warmup, both = findings.effects
    expected = [
        (y[:, 1] - y[:, 0]).mean(axis=1), (y[:, :, 1] - y[:, :, 0]).mean(axis=1),
        (y[:, 1, 1] - y[:, 0, 1]) - (y[:, 1, 0] - y[:, 0, 0]),
    ]  # fmt: skip
    for effect, differences in zip((clip, warmup, both), expected, strict=True):
        paired = effect.contrast.paired
        assert paired.differences == pytest.approx(list(differences))
        interval = stats.ttest_1samp(differences, 0).confidence_interval()
        assert (paired.low, paired.high) == pytest.approx((interval.low, interval.high))
    assert both.contrast.paired.mean_difference == pytest.approx(-0.25, abs=0.02)
    assert [effect.factors for effect in findings.effects] == [["optim.clip"], [WARMUP], ["optim.clip", WARMUP]]


def test_all_of_them_are_one_family_of_holm(findings: Findings) -> None:
    every = [*findings.contrasts, *(effect.contrast for effect in findings.effects)]
    assert findings.family == len(every) == 5
    adjusted = dict(zip(sorted(each.p for each in every), range(5, 0, -1), strict=False))
    assert {each.family for each in every} == {5}
    assert min(each.p_adjusted for each in every) == pytest.approx(min(adjusted) * 5)
    assert all(each.verdict.startswith("different") for each in every)


def test_they_are_told_in_sentences_and_for_programs(findings: Findings, folder: StudyFolder) -> None:
    said = [text for _, text in verdict_sentences(findings)]
    assert said[2].startswith("`optim.clip`, averaged over `optim.warmup_steps`, makes a difference:")
    assert said[4].startswith("The effect of `optim.clip` depends on `optim.warmup_steps`: its difference,")
    assert "`off vs 1.0 at 10` minus `off vs 1.0 at 0`, is -0.2" in said[4]
    told = answer_of(folder, findings).effects
    assert [each.kind for each in told] == ["main", "main", "interaction"]
    assert told[2].difference == findings.effects[2].contrast.paired.mean_difference


def test_the_report_has_a_section_and_a_figure(folder: StudyFolder) -> None:
    built = build_report(folder)
    page = (folder.report / "report.md").read_text()
    assert "## Several factors" in page
    assert "| off vs 1.0, averaged over optim.warmup_steps |" in page
    assert "factors:\n  optim.clip: [1.0" in page
    assert (folder.report / "figures" / "interaction.png").exists()
    (figure,) = [each for each in built.findings.figures if each.name == "interaction"]
    assert figure.caption.startswith("The effect of `optim.clip` depends on `optim.warmup_steps`")
    assert Findings.read(folder.findings).effects == built.findings.effects
    assert read_json(folder.findings)["study"]["factors"] == ["optim.clip", WARMUP]


def test_a_seed_counts_once_all_its_cells_are_finished(tmp_path: Path) -> None:
    def unfinished(run: PlannedRun) -> Outcome:
        missing = run.seed == 3 and run.variant is None and dict(run.setting)[WARMUP] == 10
        return Outcome(state="planned") if missing else Outcome(last_loss=loss(run))

    study = synthetic.study(seeds=SEEDS, **FACTORS)
    findings = build_findings(collect(synthetic.write_study(tmp_path, study, unfinished)))
    assert [len(effect.contrast.seeds) for effect in findings.effects] == [SEEDS - 1] * 3
    assert 3 not in findings.effects[2].contrast.seeds


def test_chosen_contrasts_are_those_that_are_reported(tmp_path: Path) -> None:
    chosen = [[None, 1.0], [[1.0, 10], [None, 0]]]
    findings = build_findings(collect(write(tmp_path, contrasts=chosen)))
    assert [(each.a, each.b) for each in findings.contrasts] == [("off", "1.0")] * 2
    assert findings.contrasts[0].paired.mean_difference == pytest.approx(-0.3, abs=0.02)
    cells = findings.effects[-1]
    assert (cells.kind, cells.factors) == ("chosen", [])
    assert cells.contrast.a == "optim.clip = 1.0, optim.warmup_steps = 10"
    assert cells.contrast.paired.mean_difference == pytest.approx(0.4, abs=0.02)
    assert findings.family == 2 + 3 + 1


def test_recipes_are_controlled_shown_and_a_field_beside_them_is_noticed(tmp_path: Path) -> None:
    recipes = {
        "old": {"optim.clip": 1.0, "optim.weight_decay": 0.1},
        "new": {"optim.clip": None, "optim.weight_decay": 0.2},
    }

    def outcome(run: PlannedRun, confused: bool) -> Outcome:
        config = run.config.model_dump(mode="json")
        if confused and run.variant == "new":
            config["model"]["bias"] = True
        return Outcome(last_loss=2.0 + run.seed / 100 + (run.variant == "new") / 10, changes={"config": config})

    for confused in (False, True):
        study = synthetic.study("recipe", ["old", "new"], seeds=3, recipes=recipes)
        folder = synthetic.write_study(tmp_path / str(confused), study, lambda run, c=confused: outcome(run, c))
        findings = build_findings(collect(folder))
        assert findings.control.expected == ["optim.clip", "optim.weight_decay"]
        assert findings.control.holds is not confused
        assert (
            findings.study.config(findings.settings[0], findings.settings[0].variants[1])["optim.weight_decay"] == 0.2
        )
    built = build_report(folder)
    assert "- `new`: optim.clip = off, optim.weight_decay = 0.2" in built.page(TO_FOLDERS)
    assert "<code>new</code>: optim.clip = off, optim.weight_decay = 0.2" in built.folder.page.read_text()


def test_both_pages_have_the_table_of_effects(folder: StudyFolder) -> None:
    built = build_report(folder)
    header, rows = effects_table(built.findings)
    assert len(rows) == 3
    assert Parsed(folder.page.read_text()).tables["factors"] == [[*header], *rows]
    assert all(f"| {' | '.join(row)} |" in built.page(TO_FOLDERS) for row in rows)
