"""Claims about a study whose held-out texts are files of their own: all are named, and none of their folders."""

import json
from pathlib import Path

from synthetic import BASE, Outcome, study, write_study

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect
from gpt.config import RunConfig
from gpt.records.files import read_json
from gpt.report.pages.provenance import made_of, rerun_files
from gpt.study.study_file import load_study
from gpt.wandb_sync.summary import config_of
from gpt.yaml_file import parse

TEXTS = {"source": "plays.txt", "val_source": "sonnets.txt", "test_source": "poems.txt"}


def test_a_report_names_every_text_and_no_folder(tmp_path: Path) -> None:
    data = {name: f"/somewhere/private/{file}" for name, file in TEXTS.items()}
    base = parse(RunConfig, {**BASE, "data": data}, "base").model_dump(mode="json")
    lengths = {"vocabulary": 9, "train_characters": 900, "val_characters": 80, "test_characters": 70}
    described = {"data": {"sha256": "f" * 64, **lengths, "unigram_loss": 3.3}}
    folder = write_study(
        tmp_path / "out",
        study(base=base, metric="test/loss.last"),
        lambda _: Outcome(test_windows=[2.0] * 3, changes=described),
    )
    findings = build_findings(collect(folder))
    made = dict(made_of(findings))
    assert made["text"].startswith("`plays.txt`, `sonnets.txt` and `poems.txt`, SHA-256 of their hashes `")
    assert made["split"].startswith("900 characters to learn from, 80 for validation, 70 for the test; ")
    sent = [config_of(read_json(run.run_json)) for run in folder.runs()]
    assert {name: sent[0]["data"][name] for name in TEXTS} == TEXTS
    assert "private" not in json.dumps([findings.model_dump()["study"], sent], default=str)

    for name, text in rerun_files(findings.study).items():
        (tmp_path / name).write_text(text)
    again = load_study(tmp_path / "study.yaml")
    assert again.base.data.texts == tuple(str(tmp_path / file) for file in TEXTS.values())
    assert again.metric == "test/loss.last"
