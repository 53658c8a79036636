"""`gpt study publish`: nothing is written before all is known to be fit, and nothing takes the place of another."""

from pathlib import Path

import pytest
from commands import GPT, run_command

from gpt.commands.studies import open_study
from gpt.commands.workspace import open_corpora
from gpt.records.files import read_json
from gpt.records.manifest import files_below
from gpt.study.folder import StudyFolder


@pytest.fixture
def published(tiny_study: Path, tmp_path: Path) -> Path:
    """A folder of results that holds the tiny study, beside its output folder and a README."""
    (tmp_path / "README.md").write_text("<!-- findings:begin -->\n<!-- findings:end -->\n")
    train(tiny_study, tmp_path / "out")
    assert publish(tmp_path / "out")[0] == 0
    return tmp_path / "results"


def train(study: Path, out: Path, *more: str) -> None:
    code, said = run_command([*GPT, "study", "run", study, "--out", out, *more], study.parent)
    assert code == 0, said


def publish(out: Path) -> tuple[int, str]:
    root = out.parent
    return run_command(
        [*GPT, "study", "publish", out, "--results", root / "results", "--readme", root / "README.md"], root
    )


def bytes_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in files_below(folder)}


def test_another_study_of_the_same_name_is_refused_and_more_seeds_are_not(
    published: Path, tiny_study: Path, tmp_path: Path
) -> None:
    before = bytes_of(published)
    whole = tiny_study.read_text()
    tiny_study.write_text(whole.replace("0.01", "0.02"))
    train(tiny_study, tmp_path / "other")
    code, said = publish(tmp_path / "other")
    assert (code, len(said.splitlines())) == (2, 1)
    assert f"{published}/tiny/study.yaml: the published study has smallest_effect = 0.01, that of" in said
    assert bytes_of(published) == before
    tiny_study.write_text(whole)
    train(tiny_study, tmp_path / "fewer", "--seeds", "2")
    code, said = publish(tmp_path / "fewer")
    assert code == 2
    assert "the published study has seeds = [0, 1, 2], that of" in said
    assert bytes_of(published) == before
    train(tiny_study, tmp_path / "more", "--seeds", "4")
    assert publish(tmp_path / "more")[0] == 0
    assert len(read_json(published / "tiny" / "runs.json")) == 8


def test_a_folder_of_results_that_is_no_study_is_left_alone(tiny_study: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("<!-- findings:begin -->\n<!-- findings:end -->\n")
    train(tiny_study, tmp_path / "out", "--seeds", "2")
    kept = tmp_path / "results" / "tiny" / "gradient_parity.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    code, said = publish(tmp_path / "out")
    assert code == 2
    assert f"{kept.parent}: holds something else than a study" in said
    assert [*kept.parent.iterdir()] == [kept]


def test_nothing_is_published_while_one_of_the_studies_is_unfinished(tiny_study: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("<!-- findings:begin -->\n<!-- findings:end -->\n")
    train(tiny_study, tmp_path / "out")
    later = tmp_path / "later.yaml"
    later.write_text(tiny_study.read_text().replace("name: tiny", "name: untrained"))
    study, runs, data_sha256 = open_study(later, 4, open_corpora())
    StudyFolder(tmp_path / "out", study.name).start(study, data_sha256, runs)
    code, said = publish(tmp_path / "out")
    assert (code, len(said.splitlines())) == (2, 1)
    assert "untrained: 6 of 8 runs finished; only finished studies are published" in said
    assert not (tmp_path / "results").exists()
