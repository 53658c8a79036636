import json
import re
import sys
from pathlib import Path

import pytest
import reported as reported_studies
import synthetic
from commands import run_command
from synthetic import Outcome

from gpt.analysis.findings import Findings
from gpt.records.formatting import fixed, p_run, signed
from gpt.records.manifest import write_manifest
from gpt.report.build import build_report, print_again, print_findings
from gpt.report.publish import publish, published, render
from gpt.report.text.sentences import sentence
from gpt.study.study_file import load_study
from gpt.yaml_file import read_yaml

LINK = re.compile(r"\]\(([^)#]+)\)")


def rows_below(page, heading):
    """The cells of the first table under a heading, header first, without the links."""
    part = page.split(f"\n## {heading}\n", 1)[1]
    lines = [line for line in part.split("\n## ")[0].splitlines() if line.startswith("|")]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    return [[re.sub(r"\[(.*)\]\(.*\)", r"\1", cell.strip()) for cell in row] for row in rows if "---" not in row[0]]


def links_of(path):
    return [path.parent / link for link in LINK.findall(path.read_text())]


def test_every_relative_link_of_every_page_is_there(reported):
    pages = [reported.out / "report.md", *reported.out.glob("studies/*/report/report.md")]
    assert len(pages) == 3
    for page in pages:
        links = links_of(page)
        assert links
        for link in links:
            assert link.exists(), (page, link)


def test_a_page_links_every_begun_run_of_its_study(reported):
    page = reported.page(reported.messy)
    for setting in reported.findings(reported.messy).settings:
        for variant in setting.variants:
            for run, state in zip(variant.runs, variant.states, strict=True):
                assert (f"(../../../runs/{run}/)" in page) == (state != "planned")


def test_pages_hold_no_absolute_path(reported):
    for page in (
        reported.page(reported.clean),
        reported.page(reported.messy),
        (reported.out / "report.md").read_text(),
    ):
        assert str(reported.out) not in page
        assert "/somewhere" not in page
        assert not re.search(r"\]\(/", page)


def test_the_answer_comes_first_then_the_table_the_seeds_the_proof_and_the_figures(reported):
    headings = re.findall(r"^## (.*)$", reported.page(reported.clean), re.MULTILINE)
    assert headings == [
        "Answer",
        "Findings",
        "How sure is that?",
        "Every seed",
        "Was it a controlled comparison?",
        "What else the records show",
        "Figures",
        "Samples",
        "How it was made",
        "Limitations",
    ]
    findings = reported.findings(reported.clean)
    (contrast,) = findings.contrasts
    answer = reported.page(reported.clean).split("## Answer")[1].split("## Findings")[0]
    assert f"- **{contrast.verdict}**: {sentence(contrast, findings.study.metric)}" in answer


def test_the_table_of_findings_shows_the_numbers_of_findings_json(reported):
    contrast = reported.findings(reported.clean).settings[0].contrasts[0]
    header, row = rows_below(reported.page(reported.clean), "Findings")
    shown = dict(zip(header, row, strict=True))
    paired = contrast.paired
    assert paired.mean_difference == pytest.approx(0.02)
    assert shown == {
        "comparison": "off vs 0.5",
        "difference": signed(paired.mean_difference, 4),
        "95 % interval": f"[{signed(paired.low, 4)}, {signed(paired.high, 4)}]",
        "corrected p": p_run(contrast.p_adjusted),
        "d_z": signed(paired.d_z, 2),
        "pair correlation": fixed(paired.correlation, 2),
        "P(better)": "0.00",
        "seeds": "3",
        "failed": "0 / 0",
        "detectable": fixed(paired.minimum_detectable_difference, 4),
        "verdict": "inconclusive",
    }


def test_diverged_runs_are_counted_for_the_variant_and_for_what_it_is_compared_with(reported):
    header, small, large = rows_below(reported.page(reported.messy), "Findings")
    assert [row[header.index("comparison")] for row in (small, large)] == [
        "post vs pre, optim.lr = 0.001",
        "post vs pre, optim.lr = 0.003",
    ]
    assert [row[header.index("failed")] for row in (small, large)] == ["0 / 0", "2 / 0"]
    assert [row[header.index("seeds")] for row in (small, large)] == ["5", "2"]


def test_every_seeds_value_is_shown_and_every_run_that_has_none_by_its_state(reported):
    rows = rows_below(reported.page(reported.clean), "Every seed")
    assert rows[0] == ["seed", "0.5", "off", "off - 0.5"]
    for i, row in enumerate(rows[1:4]):
        a, b = reported_studies.CLEAN_A[i], reported_studies.CLEAN_B[i]
        assert row == [str(i), f"{a:.4f}", f"{b:.4f}", f"{b - a:+.4f}"]
    assert rows[4] == ["mean (sd)", "2.0200 (0.0200)", "2.0400 (0.0173)", "+0.0200"]
    page = reported.page(reported.messy)
    part = page.split("### optim.lr = 0.003", 1)[1].split("## Was it")[0]
    assert next(row for row in part.splitlines() if row.startswith("| 0 |")).count("**non-finite**") == 1
    for seed, state in ((2, "failed"), (3, "running"), (4, "planned")):
        assert re.search(rf"^\| {seed} \| \[?{state}", part, re.MULTILINE)
    assert "- seed 1 of `post` failed: train/loss not finite at step 26" in part


def test_a_page_of_an_incomplete_study_says_so_at_the_top(reported):
    answer = reported.page(reported.messy).split("## Answer")[1].split("## Findings")[0]
    assert "> **Incomplete: 17 of 20 runs have finished.**" in answer
    assert "At optim.lr = 0.003: Incomplete, 2 of 5 pairs: " in answer
    assert "no seed survived in both, so no size can be given" in answer
    assert "Incomplete" not in reported.page(reported.clean)


def test_the_users_words_are_shown_as_they_are(reported):
    assert "**Does it \\| help\\_?**" in reported.page(reported.clean)


def test_a_sample_cannot_break_out_of_its_setting(reported):
    samples = reported.page(reported.clean).split("## Samples")[1].split("## How")[0]
    assert "````text\noff wrote ``` this\n````" in samples


def test_a_warning_leads_the_page_of_a_study_that_was_not_controlled(tmp_path):
    def outcome(run):
        found = reported_studies.clean_outcome(run)
        found.probes = False
        if run.variant is None:
            config = run.config.model_dump(mode="json")
            found.changes = {"config": {**config, "model": {**config["model"], "dropout": 0.5}}}
        return found

    folder = synthetic.write_study(tmp_path, synthetic.study(variants=[0.5, None]), outcome)
    build_report(folder)
    top = (folder.report / "report.md").read_text().split("## Findings")[0]
    assert "> **WARNING: by-hand is not a controlled comparison." in top
    assert "model.dropout" in top


def test_the_files_that_the_page_prints_make_the_same_study_again(reported, tmp_path):
    for folder in (reported.clean, reported.messy):
        settings = re.findall(r"<summary>(.*?)</summary>\n\n```yaml\n(.*?)```", reported.page(folder), re.DOTALL)
        assert [name for name, _ in settings] == ["study.yaml", "base.yaml"]
        for name, text in settings:
            (tmp_path / name).write_text(text)
        again, was = load_study(tmp_path / "study.yaml"), folder.read()
        assert again.base.data.source == str(tmp_path / "plays.txt")
        assert again.model_copy(update={"base": was.base}) == was
        data = was.base.data.model_copy(update={"source": again.base.data.source})
        assert again.base == was.base.model_copy(update={"data": data})


def test_figures_of_an_earlier_report_that_are_no_more_are_taken_away(tmp_path, monkeypatch):
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda run: Outcome(state="planned"))
    stale = folder.report / "figures" / "old.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    findings = build_report(folder).findings
    assert not stale.exists()
    assert findings.model_dump_json() == Findings.read(folder.findings).model_dump_json()
    page = (folder.report / "report.md").read_text()
    assert "None yet: no run has finished." in page
    assert "- **no pair yet**: No seed has finished with both `1.0` and `off`" in page


def test_the_printed_table_fits_a_terminal_and_holds_every_contrast(reported):
    lines = reported.printed.splitlines()
    assert max(map(len, lines)) <= 100
    text = " ".join(reported.printed.split())
    assert "corrected for the contrasts of one study by Holm's method" in text
    assert "messy (incomplete: 17 of 20 runs): Does it | help_?" in text
    contrast = reported.findings(reported.clean).settings[0].contrasts[0].paired
    row = next(line for line in lines if line.startswith("  off vs 0.5"))
    assert signed(contrast.mean_difference, 4) in row
    assert "post vs pre, optim.lr = 0.003: a run failed" in text
    assert f"report: {reported.out / 'report.md'}" in lines


def test_the_json_answer_holds_every_contrast_of_the_findings_and_no_nan(reported, capsys):
    folders = [reported.clean, reported.messy]
    print_again(reported.out, folders, as_json=True)
    studies = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [(each["study"], each["complete"]) for each in studies] == [("clean", True), ("messy", False)]
    for folder, answer in zip(folders, studies, strict=True):
        contrasts = reported.findings(folder).contrasts
        assert [(c["a"], c["b"], c["setting"], c["verdict"]) for c in answer["contrasts"]] == [
            (c.a, c.b, c.setting, c.verdict) for c in contrasts
        ]
        assert Path(answer["findings"]).is_file()
        assert Path(answer["page"]).is_file()
    (clean,) = studies[0]["contrasts"]
    paired = reported.findings(reported.clean).contrasts[0].paired
    assert (clean["difference"], clean["low"], clean["high"]) == (paired.mean_difference, paired.low, paired.high)
    assert [c["among_survivors"] for c in studies[1]["contrasts"]] == [
        c.failures.failed_a + c.failures.failed_b > 0 for c in reported.findings(reported.messy).contrasts
    ]
    assert studies[1]["contrasts"][-1]["low"] is None


def test_findings_are_shown_again_as_they_were(reported, capsys):
    print_again(reported.out, [reported.clean, reported.messy], as_json=False)
    assert capsys.readouterr().out == reported.printed


def test_columns_line_up(reported):
    lines = reported.printed.splitlines()
    ends = [line.index("verdict") for line in lines if "verdict" in line]
    rows = [line for line in lines if re.search(r"\d / \d  ", line)]
    assert len(rows) == 3
    assert {re.search(r"\d / \d  ", row).end() for row in rows} == set(ends)


def test_a_comparison_too_long_for_its_column_gets_a_line_of_its_own(tmp_path, capsys):
    settings = {"optim.weight_decay": [0.125, 0.25], "optim.warmup_steps": [3, 5], "train.eval_batch_size": [32, 16]}
    planned = synthetic.study("model.position", ["sinusoidal", "learned"], settings=settings)
    folder = synthetic.write_study(tmp_path, planned, lambda run: Outcome(state="planned"))
    print_findings(tmp_path, [folder])
    lines = [line for line in capsys.readouterr().out.splitlines() if "/" not in line]
    long = "learned vs sinusoidal, optim.warmup_steps = 3, optim.weight_decay = 0.125, train.eval_batch_size = 32"
    assert long in " ".join(" ".join(lines).split())
    assert not any(line.startswith("  learned") and "no pair yet" in line for line in lines)
    assert max(map(len, lines)) <= 100


def test_the_combined_page_says_what_each_studys_own_report_says(reported):
    page = (reported.out / "report.md").read_text()
    assert page.startswith("# 2 questions\n")
    own = reported.findings(reported.clean).settings[0].contrasts[0]
    assert (own.family, own.p_adjusted) == (1, own.p)
    row = next(line for line in page.splitlines() if line.startswith("| [clean]"))
    assert f"| {p_run(own.p)} |" in row


def test_the_report_does_not_touch_the_study_or_its_runs(reported):
    assert read_yaml(reported.clean.study_yaml).data["name"] == "clean"
    written = {p.relative_to(reported.clean.root).parts[0] for p in reported.clean.root.rglob("*")}
    assert written == {"study.yaml", "runs.json", "manifest.json", "report"}


def test_a_setting_is_named_by_what_differs_between_settings_and_the_rest_is_said_once(tmp_path):
    settings = {"optim.lr": [0.01, 0.02], "optim.warmup_steps": [3]}
    planned = synthetic.study(settings=settings)
    folder = synthetic.write_study(tmp_path, planned, lambda run: Outcome())
    publish(folder, tmp_path / "results")
    found = Findings.read(tmp_path / "results" / planned.name / "findings.json")
    assert [setting.label for setting in found.settings] == ["optim.lr = 0.01", "optim.lr = 0.02"]
    assert [setting.setting["optim.warmup_steps"] for setting in found.settings] == [3, 3]
    said = r"All runs at optim.warmup\_steps = 3."
    assert (tmp_path / "results" / planned.name / "report.md").read_text().splitlines()[4] == said
    assert said in render(published(tmp_path / "results"), "results").splitlines()


def test_a_report_needs_neither_torch_nor_matplotlib_and_leaves_nothing_to_complain_of(tmp_path):
    planned = synthetic.study(seeds=2)
    folder = synthetic.write_study(tmp_path / "out", planned, lambda run: Outcome(probes=False, long_range=False))
    for run in folder.runs():
        write_manifest(run.root, run.results())
    program = (
        "import sys, gpt.cli; end = gpt.cli.end_process; heavy = {'torch', 'matplotlib', 'wandb'}; "
        "gpt.cli.end_process = lambda code: (print(heavy & sys.modules.keys()), end(code)); "
        "sys.argv[1:] = ['study', 'report', 'out']; gpt.cli.main()"
    )
    code, said = run_command([sys.executable, "-c", program], tmp_path)
    assert (code, said.splitlines()[-1]) == (0, "set()")
    assert "Warning" not in said
    assert (folder.report / "figures" / "loss.png").exists()
