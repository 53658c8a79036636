import json

import pytest
import reported as reported_studies
from test_build import links_of

from gpt.analysis.findings import Findings
from gpt.errors import InputError
from gpt.records.files import read_json
from gpt.records.formatting import fixed, p_run, signed
from gpt.report.publish import (
    SECTIONS,
    publish,
    render,
    render_papers,
    render_takeaways,
    update,
)
from gpt.report.publish import (
    published as published_in,
)
from gpt.report.text import papers
from gpt.report.text.literature import MEASURES, NONE_PUBLISHED
from gpt.report.text.observations import observations
from gpt.study.study_file import load_study

BEGIN, END = "<!-- findings:begin -->", "<!-- findings:end -->"
README = f"# Title\n\nBefore.\n\n{BEGIN}\nOUTDATED\n{END}\n\nAfter.\n"


@pytest.fixture(scope="module")
def published(reported, tmp_path_factory):
    """A folder of results with both studies, beside a README."""
    root = tmp_path_factory.mktemp("repository")
    for folder in (reported.clean, reported.messy):
        publish(folder, root / "results")
    (root / "README.md").write_text(README)
    return root


def rendered(root, section=render):
    return section(published_in(root / "results"), "results")


def test_a_published_study_is_whole_and_small(published, reported):
    for name in ("clean", "messy"):
        folder = published / "results" / name
        names = {path.name for path in folder.iterdir()}
        assert names == {
            "findings.json",
            "report.html",
            "report.md",
            "figures",
            "study.yaml",
            "base.yaml",
            "runs.csv",
            "runs.json",
            "manifest.json",
        }
        assert Findings.read(folder / "findings.json") == reported.findings(getattr(reported, name))
        for link in links_of(folder / "report.md"):
            assert link.exists(), link
        assert (folder / "report.html").read_bytes() == (getattr(reported, name).report / "report.html").read_bytes()
        assert "../" not in (folder / "report.md").read_text()
        assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 3_000_000
        for file in folder.rglob("*.*"):
            assert b"/somewhere" not in file.read_bytes(), file


def test_the_summary_of_runs_holds_every_planned_run_with_its_hash(published):
    runs = read_json(published / "results" / "messy" / "runs.json")
    assert len(runs) == 20
    by_place = {(c["variant"], c["setting"]["optim.lr"], c["seed"]): c for c in runs}
    done = by_place["post", 1e-3, 2]
    assert done["values"]["val/loss.min"] == pytest.approx(2.1 + 0.02 + 0.1 + 0.1)
    assert len(done["final_weights_sha256"]) == 64
    assert by_place["post", 3e-3, 0]["state"] == "diverged"
    assert by_place["post", 3e-3, 0]["why"] == "train/loss not finite at step 25"
    assert by_place["pre", 3e-3, 4] == {
        "variant": "pre", "setting": {"optim.lr": 3e-3}, "seed": 4, "run": by_place["pre", 3e-3, 4]["run"],
        "state": "planned", "why": "", "values": {}, "final_weights_sha256": None,
    }  # fmt: skip


def test_the_published_study_file_can_be_run_again(published):
    study = load_study(published / "results" / "clean" / "study.yaml")
    assert (study.name, study.variants, study.seeds) == ("clean", (0.5, None), (0, 1, 2))


def test_the_same_runs_give_the_same_bytes_whatever_order_they_were_made_in(published, reported, tmp_path):
    folder = reported_studies.write_clean(tmp_path / "out", backwards=True)
    old = tmp_path / "results" / "clean" / "figures" / "old.png"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"a figure that is no more")
    publish(folder, tmp_path / "results")

    def files(root):
        return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    assert files(folder.report) == files(reported.clean.report)
    assert files(tmp_path / "results" / "clean") == files(published / "results" / "clean")


def test_the_rendered_table_shows_the_numbers_of_findings_json(published):
    contrast = Findings.read(published / "results" / "clean" / "findings.json").contrasts[0]
    text = rendered(published)
    row = next(line for line in text.splitlines() if line.startswith("| [clean](results/clean/report.md)"))
    runs = [run.strip() for run in row.split("|")[2:-1]]
    paired = contrast.paired
    assert runs == [
        "off vs 0.5",
        signed(paired.mean_difference, 4),
        f"[{signed(paired.low, 4)}, {signed(paired.high, 4)}]",
        p_run(contrast.p),
        signed(paired.d_z, 2),
        fixed(paired.correlation, 2),
        "3",
        "0 / 0",
        "inconclusive",
    ]
    assert "corrected for the contrasts of one study by Holm's method" in text
    assert "](results/clean/figures/paired.png)" in text
    clean = Findings.read(published / "results" / "clean" / "findings.json")
    for observation in observations(clean.study, clean.settings[0]):
        assert f"- {observation}" in text


def test_update_replaces_what_is_between_the_markers_and_nothing_else(published):
    readme = published / "README.md"
    readme.write_text(README)
    update(readme, published / "results")
    text = readme.read_text()
    assert text.startswith(f"# Title\n\nBefore.\n\n{BEGIN}\n| study |")
    assert text.endswith(f"{END}\n\nAfter.\n")
    assert "OUTDATED" not in text
    assert text.split(BEGIN)[1].split(END)[0] == "\n" + rendered(published)
    for link in links_of(readme):
        assert link.exists()
    update(readme, published / "results")
    update(readme, published / "results", check=True)
    assert readme.read_text() == text


def test_links_lead_to_the_results_from_wherever_the_readme_is(published):
    readme = published / "docs" / "FINDINGS.md"
    readme.parent.mkdir()
    readme.write_text(README)
    update(readme, published / "results")
    assert "](../results/clean/report.md)" in readme.read_text()
    for link in links_of(readme):
        assert link.exists()


def test_check_complains_about_stale_text_and_writes_nothing(published, tmp_path):
    readme = published / "README.md"
    update(readme, published / "results")
    for stale in (readme.read_text().replace("+0.0200", "+0.0300"), README):
        readme.write_text(stale)
        with pytest.raises(InputError, match=r"README\.md: its findings are not those of"):
            update(readme, published / "results", check=True)
        assert readme.read_text() == stale


def test_check_complains_when_findings_change_under_an_unchanged_readme(published, tmp_path):
    readme, results = tmp_path / "README.md", tmp_path / "results"
    for name in ("clean", "messy"):
        data = (published / "results" / name / "findings.json").read_bytes()
        (results / name).mkdir(parents=True)
        (results / name / "findings.json").write_bytes(data)
    readme.write_text(README)
    update(readme, results)
    changed = json.loads((results / "clean" / "findings.json").read_text())
    changed["settings"][0]["contrasts"][0]["paired"]["mean_difference"] = 0.5
    (results / "clean" / "findings.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="its findings are not those of"):
        update(readme, results, check=True)


@pytest.mark.parametrize("text", ["no markers", f"{BEGIN} only", f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_readme_without_its_two_markers_is_refused(published, tmp_path, text):
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(InputError, match="must hold <!-- findings:begin --> and, below it, <!-- findings:end -->"):
        update(tmp_path / "README.md", published / "results")


def test_a_folder_without_published_studies_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no published study"):
        published_in(tmp_path)


def test_several_settings_are_told_by_one_table_and_the_setting_where_the_first_variant_does_best(published):
    findings = Findings.read(published / "results" / "messy" / "findings.json")
    text = rendered(published)
    part = text.split("| `pre`, optim.lr = 0.001 |")[1]
    assert "| `post`, optim.lr = 0.003 | 2.3800 (0.0600) | 2 of 5 |" in text
    assert "| `pre`, optim.lr = 0.003 | 2.1050 (0.0071) | 0 of 2 |" in text
    best = findings.settings[1]
    assert f"At {best.label}, where `pre` does best:" in part
    for observation in observations(findings.study, best):
        assert f"- {observation}" in part
    assert observations(findings.study, findings.settings[0])[0] not in text
    assert "](results/messy/figures/sensitivity.png)" in text
    assert "](results/messy/figures/optim.lr-0.003-gradient-distribution.png)" in text
    assert "messy/figures/optim.lr-0.003-paired.png" not in text


def test_findings_of_another_version_are_refused_in_one_line(published, tmp_path):
    old = read_json(published / "results" / "clean" / "findings.json")
    (tmp_path / "results" / "old").mkdir(parents=True)
    for version in (None, 1):
        (tmp_path / "results" / "old" / "findings.json").write_text(json.dumps({**old, "version": version}))
        with pytest.raises(InputError, match="must be findings of version 4"):
            rendered(tmp_path)


def test_a_study_without_contrasts_is_rendered_too(published, tmp_path):
    alone = read_json(published / "results" / "messy" / "findings.json")
    for setting in alone["settings"]:
        setting["contrasts"] = []
    (tmp_path / "results" / "alone").mkdir(parents=True)
    (tmp_path / "results" / "alone" / "findings.json").write_text(json.dumps(alone))
    assert "At optim.lr = 0.003, where `pre` does best:" in rendered(tmp_path)
    assert "Failed: 2 of 5 runs with `post`" in rendered(tmp_path, render_takeaways)
    assert rendered(tmp_path, render_papers).strip() == NONE_PUBLISHED


def test_takeaways_say_where_which_verdict_holds_and_by_how_much(published):
    clean, messy = rendered(published, render_takeaways).splitlines()[2:]
    assert clean == (
        "- [clean](results/clean/report.md): `off` against `0.5`: **inconclusive**, +0.0200 [-0.0048, +0.0448]. "
        "None of 6 runs failed."
    )
    assert messy.startswith(
        "- [messy](results/messy/report.md): `post` against `pre`: **inconclusive** at optim.lr = 0.001 ("
    )
    assert (
        "and optim.lr = 0.003 (no pair survived). Failed: 2 of 5 runs with `post` at optim.lr = 0.003; no other."
        in messy
    )
    assert "Each at its best: `pre` 2.1050 at optim.lr = 0.003 and `post` 2.3200 at optim.lr = 0.001." in messy


def test_papers_stand_beside_the_studies_that_bear_on_them_and_no_others(published, tmp_path):
    assert rendered(published, render_papers).strip() == NONE_PUBLISHED
    for name, source in (("clipping", "clean"), ("normalization", "messy")):
        found = read_json(published / "results" / source / "findings.json")
        found["study"]["name"] = name
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "findings.json").write_text(json.dumps(found))
    text = rendered(tmp_path, render_papers)
    assert text.count("\n| [") == sum(claim.study in ("clipping", "normalization") for claim in papers.CLAIMS)
    assert "RoFormer" not in text
    assert "Steps whose gradient was scaled down: 90.0 % with `0.5` and 0.0 % with `off`." in text
    assert "with `pre` 0.1 in the first layer and 0.05 in the last (ratio 0.50)" in text
    assert "Mean loss above the best rate's, over 0.001 and 0.003: 0.000 with `pre` and 0.400 with `post`" in text


def test_a_quick_study_stands_in_until_the_one_at_full_size_is_published(published, tmp_path):
    found = read_json(published / "results" / "clean" / "findings.json")
    for name, expected in (("quick-clipping", "*quick-clipping*: "), ("clipping", "*clipping*: ")):
        found["study"]["name"] = name
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "findings.json").write_text(json.dumps(found))
        (row,) = [line for line in rendered(tmp_path, render_papers).splitlines() if line.startswith("| [")]
        assert expected in row


def test_every_claim_names_measures_that_there_are():
    for claim in papers.CLAIMS:
        assert set(claim.measures) <= set(MEASURES)
    assert {name for claim in papers.CLAIMS for name in claim.measures} == set(MEASURES)
    assert len({claim.arxiv for claim in papers.CLAIMS}) == 4


def test_every_section_that_a_readme_has_markers_for_is_renewed(published, tmp_path):
    readme = published / "ALL.md"
    readme.write_text("".join(f"<!-- {name}:begin -->\nOUTDATED\n<!-- {name}:end -->\n" for name in reversed(SECTIONS)))
    update(readme, published / "results")
    text = readme.read_text()
    assert "OUTDATED" not in text
    for name, section in SECTIONS.items():
        inside = text.split(f"<!-- {name}:begin -->\n")[1].split(f"<!-- {name}:end -->")[0]
        assert inside == rendered(published, section)
    readme.write_text(text.replace("inconclusive", "different"))
    with pytest.raises(InputError, match="its findings are not those of"):
        update(readme, published / "results", check=True)
    readme.write_text(text.replace("<!-- papers:end -->", ""))
    with pytest.raises(InputError, match="must hold <!-- papers:begin --> and, below it, <!-- papers:end -->"):
        update(readme, published / "results")
