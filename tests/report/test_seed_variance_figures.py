"""Claims about the pages, the table and the figures of a study of seeds."""

import re

import numpy as np
import pytest
import seeds
from reported import clean_outcome, unprobed, write_clean
from synthetic import Outcome
from test_build import links_of, rows_below
from test_publish_readme import README

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect
from gpt.analysis.findings import Findings
from gpt.records.formatting import fixed
from gpt.report.build import build_report, print_findings
from gpt.report.pages.seed_variance import crossed_section
from gpt.report.publish import publish, published, render, render_takeaways, update
from gpt.report.text.seed_variance import source_names, spread_sentences, spread_verdict
from gpt.runner.checks.verify import verify
from gpt.study.study_file import load_study

FIGURES = {"components", "crossed", "during"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A study of seeds and an ordinary one in one folder, reported and published."""
    root = tmp_path_factory.mktemp("seeds")
    folder = seeds.write(root / "out")
    clean = write_clean(root / "out", outcome=unprobed(clean_outcome))
    print_findings(root / "out", [folder, clean])
    for each in (folder, clean):
        publish(each, root / "results")
    (root / "README.md").write_text(README)
    update(root / "README.md", root / "results")
    return root, folder


def split_of(folder):
    return Findings.read(folder.findings).settings[0].components.split


def test_the_answer_comes_first_and_no_part_speaks_of_contrasts(written):
    _, folder = written
    page = (folder.report / "report.md").read_text()
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == [
        "Answer",
        "Where the spread comes from",
        "Every seed",
        "Was it a controlled comparison?",
        "Figures",
        "Samples",
        "How it was made",
        "Limitations",
    ]
    findings = Findings.read(folder.findings)
    (setting,) = findings.settings
    sentences = spread_sentences(findings.study, setting, setting.components)
    assert f"- **{spread_verdict(setting.components)}**: {' '.join(sentences)}" in page
    assert "Holm" not in page
    assert "Rows: `seed`; columns: `data.order_seed`." in page


def test_the_tables_show_the_numbers_of_findings_json(written):
    _, folder = written
    header, init, order, residual, run, *_ = rows_below(
        (folder.report / "report.md").read_text(), "Where the spread comes from"
    )
    split = split_of(folder)
    assert header[:4] == ["source", "share", "95 % interval", "sd"]
    for row, source in ((init, "init"), (order, "order"), (residual, "residual")):
        part = getattr(split, source)
        assert row[1] == f"{100 * part.share:.0f} %"
        assert row[2] == f"[{100 * part.share_low:.0f}, {100 * part.share_high:.0f}]"
        assert row[3] == fixed(part.spread.sd, 4)
        assert row[4] == f"[{fixed(part.spread.low, 4)}, {fixed(part.spread.high, 4)}]"
    assert (run[0], run[3]) == ("one run", fixed(split.run.sd, 4))


def test_every_run_is_shown_in_a_table_of_seeds_by_order_seeds(written):
    _, folder = written
    rows = rows_below((folder.report / "report.md").read_text(), "Every seed")
    assert rows[0] == ["seed", "0", "1", "2", "3", "4"]
    for s in range(5):
        assert rows[1 + s] == [str(s), *(f"{seeds.value(s, o):.4f}" for o in range(5))]


def test_figures_are_those_of_the_spread_and_the_page_shows_each(written):
    _, folder = written
    files = {file.stem for file in (folder.report / "figures").iterdir()}
    assert files == FIGURES
    for link in links_of(folder.report / "report.md"):
        assert link.exists(), link


def test_the_readme_has_a_table_a_sentence_and_figures_of_it_beside_other_studies(written):
    root, folder = written
    text = (root / "README.md").read_text()
    split = split_of(folder)
    row = next(line for line in text.splitlines() if line.startswith("| [seeds](results/seeds/report.md)"))
    runs = [run.strip() for run in row.split("|")[2:-1]]
    assert runs[:2] == ["25", "0"]
    assert runs[2].startswith(f"{100 * split.init.share:.0f} % [")
    assert runs[5].startswith(fixed(split.run.sd, 4))
    assert "| [clean](results/clean/report.md) | off vs 0.5" in text
    assert "of the variance of the lowest validation loss between runs comes from initial weights" in text
    for link in links_of(root / "README.md"):
        assert link.exists(), link


def test_a_published_study_of_seeds_verifies_and_can_be_run_again(written):
    root, _ = written
    assert verify(root / "results").wrong == []
    study = load_study(root / "results" / "seeds" / "study.yaml")
    assert (study.kind, study.variants, study.seeds) == ("components", (0, 1, 2, 3, 4), (0, 1, 2, 3, 4))


def test_a_folder_of_nothing_but_seeds_has_no_table_of_contrasts(tmp_path, capsys):
    folder = seeds.write(tmp_path / "out")
    print_findings(tmp_path / "out", [folder])
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines() if "/" not in line) <= 100
    assert "comparison" not in printed
    assert "comes from initial weights" in " ".join(printed.split())
    publish(folder, tmp_path / "results")
    studies = published(tmp_path / "results")
    assert "comparison" not in render(studies, "results")
    assert "comes from initial weights" in render_takeaways(studies, "results")
    assert "| comparison" not in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize("outcome", [seeds.diverging, lambda run: Outcome(state="planned")], ids=["failed", "none"])
def test_runs_that_failed_or_are_missing_leave_a_page_that_says_so(tmp_path, outcome):
    folder = seeds.write(tmp_path / "out", outcome)
    print_findings(tmp_path / "out", [folder])
    page = (folder.report / "report.md").read_text()
    assert "- **not decomposed**: " in page
    for path in (folder.report / "report.md", tmp_path / "out" / "report.md"):
        for link in links_of(path):
            assert link.exists(), link


def test_a_failed_run_is_named_in_the_figure_of_every_run_and_has_no_mean(tmp_path):
    folder = seeds.write(tmp_path, seeds.diverging)
    build_report(folder)
    assert {file.stem for file in (folder.report / "figures").iterdir()} == {"crossed"}
    page = (folder.report / "report.md").read_text()
    assert "- seed 2 of `1` failed: train/loss not finite at step 25" in page


def test_figures_have_the_same_bytes_whenever_they_are_drawn(written, tmp_path):
    _, folder = written
    again = seeds.write(tmp_path)
    build_report(again)
    for name in FIGURES:
        here, there = (f.report / "figures" / f"{name}.png" for f in (folder, again))
        assert here.read_bytes() == there.read_bytes()


def test_a_source_that_the_f_test_does_not_find_has_no_share(tmp_path):
    table = np.random.default_rng(3).normal(size=(5, 5))

    def chance(run):
        return Outcome(float(1.6 + 0.01 * table[run.seed, run.variant]), start=4.2, first_loss=4.1 + 0.01 * run.variant)

    findings = build_findings(collect(seeds.write(tmp_path, chance)))
    (setting,) = findings.settings
    said = crossed_section(findings)
    for source in ("init", "order", "residual"):
        name = source_names(findings.study, setting)[source]
        row = next(line for line in said if line.startswith(f"| {name} |"))
        assert ("cannot be told" in row) == (getattr(setting.components.split, source).p > 0.05)
    assert setting.components.split.init.p > 0.05
