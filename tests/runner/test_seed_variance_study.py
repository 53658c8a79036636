"""Claims about a study of seeds, trained by the real command."""

from pathlib import Path

import pytest
from commands import gpt
from files import edited

from gpt.analysis.findings import Findings
from gpt.study.folder import StudyFolder


@pytest.fixture
def seeds_study(tmp_path: Path, tiny_study: Path) -> Path:
    """Three seeds of `tiny_file`, each with three order seeds, beside the ordinary study of the same base."""
    path = tmp_path / "seeds.yaml"
    path.write_text(
        tiny_study.read_text()
        .replace("name: tiny", "name: seeds")
        .replace("model.norm_placement", "data.order_seed")
        .replace("[pre, post]", "[0, 1, 2]")
    )
    return path


def test_check_says_what_so_many_seeds_can_tell(tmp_path: Path, seeds_study: Path) -> None:
    code, said = gpt("study", "check", seeds_study, home=tmp_path)
    assert code == 0, said
    for expected in (
        "data.order_seed alone: 0, 1, 2",
        "9: 3 order seeds x 1 setting x 3 seeds",
        "a seed's effect whose sd is",
        "95 % intervals of an sd reach from 0.60 to 2.87 times the estimate",
    ):
        assert expected in " ".join(said.split())
    assert "d_z" not in said
    assert said.count("parameters, ") == 1


def test_too_few_order_seeds_are_refused_in_one_line(tmp_path: Path, seeds_study: Path) -> None:
    code, said = gpt("study", "check", edited(seeds_study, "[0, 1, 2]", "[0, 1]"), home=tmp_path)
    assert code == 2
    assert len(said.strip().splitlines()) == 1
    assert "got 2 variants and 3 seeds" in said


def test_seeds_are_crossed_reported_published_and_verified_and_share_runs_with_other_studies(
    tmp_path: Path, tiny_study: Path, seeds_study: Path
) -> None:
    out = tmp_path / "out"
    code, said = gpt("study", "run", tiny_study, "--out", out, home=tmp_path)
    assert code == 0, said
    before = {path.name for path in (out / "runs").iterdir()}
    code, said = gpt("study", "run", seeds_study, "--out", out, home=tmp_path)
    assert code == 0, said
    sentence = "of the variance of the test loss at the lowest validation loss between runs comes from initial weights"
    assert sentence in " ".join(said.split())
    new = {path.name for path in (out / "runs").iterdir()} - before
    assert len(new) == 6  # nine pairs of seeds, of which three are runs of the other study

    found = Findings.read(StudyFolder(out, "seeds").findings)
    (setting,) = found.settings
    assert found.complete
    assert found.control.holds
    assert setting.treatment.holds
    assert all(len(set(row)) == 1 for row in setting.treatment.loss_before_training)
    assert len({row[0] for row in setting.treatment.loss_before_training}) == 3
    assert len({value for variant in setting.variants for value in variant.values}) == 9
    assert setting.components.split.run.sd > 0
    tiny = Findings.read(StudyFolder(out, "tiny").findings)
    own = tiny.settings[0].variants[0].values
    assert [variant.values[i] for i, variant in enumerate(setting.variants)] == own

    readme = tmp_path / "README.md"
    readme.write_text("<!-- findings:begin -->\n<!-- findings:end -->\n")
    words = ["study", "publish", out, "--results", tmp_path / "results", "--readme", readme]
    code, said = gpt(*words, home=tmp_path)
    assert code == 0, said
    assert "[seeds](results/seeds/report.md)" in readme.read_text()
    for place in (out, tmp_path / "results"):
        code, said = gpt("verify", place, home=tmp_path)
        assert code == 0, said
    assert Findings.read(tmp_path / "results" / "seeds" / "findings.json") == found
