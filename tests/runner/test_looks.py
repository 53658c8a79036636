"""Studies with looks by the real command: they train up to the look that gives every contrast a verdict."""

import json
from pathlib import Path

import pytest
from commands import gpt, runs_of
from tiny import UNPROBED, write_run, write_study

LOOKS = [2, 7, 8]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    """Two rates, one of which learns nothing; eight seeds of which seven can tell."""
    folder = tmp_path_factory.mktemp("looks")
    base = write_run(folder / "run.yaml", excerpt, UNPROBED, model={"layers": 1})
    factor = {"factor": "optim.lr", "variants": "[2.0e-2, 1.0e-5]"}
    return write_study(folder / "study.yaml", base, **factor, seeds=8, looks=LOOKS)


@pytest.fixture(scope="module")
def finished(study: Path) -> Path:
    out = study.parent / "out"
    code, said = gpt("study", "run", study, "--out", out, home=study.parent)
    assert code == 0, said
    assert "on to the next look, 14 runs" in said
    return out


def test_a_study_ends_at_the_look_that_gives_a_verdict(finished: Path) -> None:
    assert len(runs_of(finished)) == 14
    findings = json.loads((finished / "studies/tiny/report/findings.json").read_text())
    assert findings["runs"] == {"planned": 14, "finished": 14, "states": {"done": 14}}
    assert [len(look["verdicts"]) for look in findings["looks"]] == [1, 1, 0]
    assert findings["settings"][0]["contrasts"][0]["verdict"] == "different"


def test_running_it_again_trains_nothing(study: Path, finished: Path) -> None:
    code, said = gpt("study", "run", study, "--out", finished, home=study.parent)
    assert code == 0
    assert "nothing to do: all 14 runs are done" in said
    assert len(runs_of(finished)) == 14


def test_status_says_which_look_ended_it(study: Path, finished: Path) -> None:
    code, said = gpt("study", "status", finished, home=study.parent)
    assert code == 0
    assert "tiny: 14 of 14 runs finished; look 2 of 3 (7 of 8 pairs) ended it" in said


def test_verify_misses_no_run_that_a_look_made_needless(study: Path, finished: Path) -> None:
    code, said = gpt("verify", finished, home=study.parent)
    assert (code, said.strip().endswith("nothing wrong")) == (0, True), said


def test_it_can_be_published_and_verified_there(study: Path, finished: Path) -> None:
    results = study.parent / "results"
    results.mkdir()
    (results / "README.md").write_text("<!-- findings:begin -->\n<!-- findings:end -->\n")
    code, said = gpt("study", "publish", finished, "--results", results, home=study.parent)
    assert code == 0, said
    assert "looks: [2, 7, 8]" in (results / "tiny/study.yaml").read_text()
    code, said = gpt("verify", results / "tiny", home=study.parent)
    assert code == 0, said


@pytest.mark.parametrize("looks", ["[2, 9]", "[8, 2]", "[1, 8]"])
def test_looks_that_do_not_rise_to_all_seeds_are_refused(study: Path, looks: str) -> None:
    bad = study.parent / "bad.yaml"
    bad.write_text(study.read_text().replace(str(LOOKS), looks))
    code, said = gpt("study", "check", bad, home=study.parent)
    assert code == 2
    assert "must be rising numbers of seeds, from 2 to all 8 of `seeds`" in said
    assert said.count("\n") == 1


def test_check_says_what_each_look_can_end(study: Path) -> None:
    code, said = gpt("study", "check", study, home=study.parent)
    assert code == 0
    assert "at 2 pairs: can end nothing" in said
    assert "at 7 pairs: different at p = 0.033 as the first contrast, 0.033 as the last" in said


def test_power_answers_from_the_finished_study(study: Path, finished: Path) -> None:
    code, said = gpt("study", "power", finished, "--study", "other", home=study.parent)
    assert (code, said.count("\n")) == (2, 1)
    assert "--study: got other, must be one of tiny" in said
    code, said = gpt("study", "power", finished, home=study.parent)
    assert code == 0
    assert "sd of 7 differences" in said
