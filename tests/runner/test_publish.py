"""`gpt study publish`: nothing is written before all is known to be fit, and nothing takes the place of another."""

import shutil
from pathlib import Path

import pytest
from commands import gpt
from files import edited
from tiny import SMALLEST, UNPROBED, study_of

from gpt.commands.studies import open_study
from gpt.commands.workspace import open_corpora
from gpt.records.files import read_json
from gpt.records.manifest import files_below
from gpt.study.folder import StudyFolder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    """A folder with a README, a study of three seeds and its output folder."""
    folder = tmp_path_factory.mktemp("trained")
    code, said = gpt("study", "run", study_of(folder, excerpt, SMALLEST, UNPROBED, seeds=3), home=folder)
    assert code == 0, said
    (folder / "README.md").write_text("<!-- findings:begin -->\n<!-- findings:end -->\n")
    return folder


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "home"))


def publish(out: Path) -> tuple[int, str]:
    return gpt("study", "publish", out, "--results", "results", "--readme", "README.md", home=out.parent)


def start_beside(study: Path, out: Path, seeds: int | None = None) -> Path:
    """An output folder in which a study has been started that has the runs of `out`."""
    beside = out.parent / study.stem
    shutil.copytree(out / "runs", beside / "runs")
    planned, runs, data_sha256 = open_study(study, seeds, open_corpora())
    StudyFolder(beside, planned.name).start(planned, data_sha256, runs)
    return beside


def bytes_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in files_below(folder)}


def test_another_study_of_the_same_name_is_refused_and_more_seeds_are_not(home: Path) -> None:
    out, study, published = home / "out", home / "study.yaml", home / "results"
    assert publish(out)[0] == 0
    before = bytes_of(published)
    other = Path(shutil.copy(study, home / "other.yaml"))
    code, said = publish(start_beside(edited(other, "0.01", "0.02"), out))
    assert (code, len(said.splitlines())) == (2, 1)
    assert "results/tiny/study.yaml: the published study has smallest_effect = 0.01, that of" in said
    fewer = Path(shutil.copy(study, home / "fewer.yaml"))
    code, said = publish(start_beside(fewer, out, seeds=2))
    assert code == 2
    assert "the published study has seeds = [0, 1, 2], that of" in said
    assert bytes_of(published) == before
    shutil.copytree(out / "runs", home / "more" / "runs")
    code, said = gpt("study", "run", study, "--seeds", "4", "--out", "more", home=home)
    assert code == 0, said
    assert publish(home / "more")[0] == 0
    assert len(read_json(published / "tiny" / "runs.json")) == 8


def test_a_folder_of_results_that_is_no_study_is_left_alone(home: Path) -> None:
    kept = home / "results" / "tiny" / "gradient_parity.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    code, said = publish(home / "out")
    assert code == 2
    assert "results/tiny: holds something else than a study" in said
    assert [*kept.parent.iterdir()] == [kept]


def test_nothing_is_published_while_one_of_the_studies_is_unfinished(home: Path) -> None:
    later = Path(shutil.copy(home / "study.yaml", home / "later.yaml"))
    study, runs, data_sha256 = open_study(edited(later, "name: tiny", "name: untrained"), 4, open_corpora())
    StudyFolder(home / "out", study.name).start(study, data_sha256, runs)
    code, said = publish(home / "out")
    assert (code, len(said.splitlines())) == (2, 1)
    assert "untrained: 6 of 8 runs finished; only finished studies are published" in said
    assert not (home / "results").exists()
