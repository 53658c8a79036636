"""Studies with failed runs by the real command, and one whose factor can change nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import gpt, runs_of
from tiny import SMALLEST, UNPROBED, write_run, write_study

SEEDS = 3


def study(folder: Path, base: Path, **fields: Any) -> tuple[str, dict[str, Any]]:
    """What the command says, and the findings."""
    code, said = gpt("study", "run", write_study(folder / "study.yaml", base, **fields), "--out", folder, home=folder)
    assert code == 0, said
    return said, findings(folder)


def findings(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "studies/tiny/report/findings.json").read_text()))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> tuple[Path, str, dict[str, Any]]:
    """Three rates: one that learns, one at which numbers overflow, one at which next to nothing moves."""
    folder = tmp_path_factory.mktemp("failed")
    base = write_run(folder / "run.yaml", excerpt, UNPROBED, train={"steps": 120, "eval_every": 40})
    said, found = study(folder, base, factor="optim.lr", variants="[2.0e-2, 1.0e+30, 1.0e-7]", seeds=SEEDS)
    return folder, said, found


def test_every_way_to_fail_is_named_and_scored(made: tuple[Path, str, dict[str, Any]]) -> None:
    _, said, found = made
    good, nan, stuck = found["settings"][0]["variants"]
    assert good["outcomes"] == ["done"] * SEEDS
    assert nan["outcomes"] == ["non-finite"] * SEEDS
    assert stuck["outcomes"] == ["learned nothing"] * SEEDS
    unigram = found["data"]["unigram_losses"]["test/loss"]
    assert nan["scores"] == stuck["scores"] == [unigram] * SEEDS
    for contrast in found["settings"][0]["contrasts"]:
        expected = sum(unigram - value for value in good["values"]) / SEEDS
        assert contrast["paired"]["mean_difference"] == pytest.approx(expected)
        assert contrast["p"] == 0.25
        assert contrast["verdict"] == "inconclusive"
    assert f"a run that failed counts as {unigram:.4f}" in " ".join(said.split())


def test_the_page_shows_failed_runs_at_their_score(made: tuple[Path, str, dict[str, Any]]) -> None:
    folder, _, found = made
    page = (folder / "studies/tiny/report/report.md").read_text()
    unigram = found["data"]["unigram_losses"]["test/loss"]
    assert page.count(f"**non-finite** ({unigram:.4f})") == SEEDS
    assert page.count(f"**learned nothing** ({unigram:.4f})") == SEEDS
    assert "A cross is a failed run, at the unigram baseline" in page


def test_a_missing_run_beside_failed_ones_is_said(made: tuple[Path, str, dict[str, Any]], tmp_path: Path) -> None:
    folder, _, found = made
    out = tmp_path / "out"
    shutil.copytree(folder, out)
    shutil.rmtree(out / "runs" / found["settings"][0]["variants"][1]["runs"][0])
    code, said = gpt("study", "report", out, home=tmp_path)
    assert code == 0, said
    assert "incomplete, 2 of 3 pairs" in " ".join(said.split())
    assert findings(out)["settings"][0]["variants"][1]["outcomes"] == [None, "non-finite", "non-finite"]
    assert len(runs_of(out)) == 3 * SEEDS - 1


def test_a_factor_that_can_change_nothing_is_never_different_and_the_report_says_that_it_did_nothing(
    tmp_path: Path, excerpt: Path
) -> None:
    """Limits that no gradient reaches: one variant under three names."""
    base = write_run(tmp_path / "run.yaml", excerpt, SMALLEST, UNPROBED)
    variants = {"factor": "optim.clip", "variants": "[1.0e+6, 1.0e+7, off]"}
    said, found = study(tmp_path, base, **variants, seeds=8)
    for contrast in found["settings"][0]["contrasts"]:
        assert set(contrast["paired"]["differences"]) == {0.0}
        assert (contrast["p_adjusted"], contrast["verdict"]) == (1.0, "equivalent")
    assert found["settings"][0]["treatment"]["holds"] is False
    assert "the records do not show that the factor acted as it should" in " ".join(said.split())
