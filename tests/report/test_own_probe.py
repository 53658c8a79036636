"""A plug-in's probe: what it declares appears everywhere, and nothing else was edited for it."""

import csv
import io
from dataclasses import asdict

import numpy as np
import pytest
import synthetic
from pages import figures_of
from synthetic import Outcome

from gpt.analysis.collect import RunReader
from gpt.analysis.findings import Findings
from gpt.records.catalogue import Array, Summary, described
from gpt.records.run_folder import RunFolder, load_arrays, save_arrays
from gpt.report.build import build_report
from gpt.wandb_sync.rows import probed
from gpt.wandb_sync.summary import summary_of

SHARPNESS = Summary(
    name="sharpness", title="sharpness", unit="ratio", meaning="largest sharpness at the end", over="max"
)
OWN = (
    Array(name="head_sharpness", axes=("layer", "head"), unit="ratio", title="sharpness of a head",
          meaning="above 1, a head is sharper than even", neutral=1.0, neutral_title="even", summaries=(SHARPNESS,)),
    Array(name="stream_skew", axes=("depth",), title="skew of the stream", meaning="0 is symmetric", neutral=0.0),
    Array(name="probe_loss", axes=(), unit="nats per character", title="loss on the probed text"),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    def outcome(run):
        return Outcome(2 + run.seed / 100, changes={"arrays": [*described(8), *map(asdict, OWN)]})

    out = tmp_path_factory.mktemp("own")
    study = synthetic.write_study(out, synthetic.study("model.norm_placement", ["pre", "post"]), outcome)
    for index, run in enumerate(sorted((out / "runs").iterdir())):
        for step in (0, 20, 40):
            file = RunFolder(run).probe_file(step)
            own = {
                "head_sharpness": np.array([[1.0, 1 + step], [1.0, 1 + index]]),
                "stream_skew": np.arange(3.0) * step,
                "probe_loss": np.array(3.0 - step / 40),
            }
            save_arrays(file, {**load_arrays(file), **own}, {})
    build_report(study)
    return study


def test_it_is_in_the_findings_and_in_the_table_of_the_page(folder):
    findings = Findings.read(folder.findings)
    variant = findings.settings[0].variants[0]
    assert variant.secondary["sharpness"].values == [41.0] * 3
    assert variant.arrays["stream_skew"].last == [0.0, 40.0, 80.0]
    assert variant.arrays["head_sharpness"].neutral == 1.0
    page = (folder.report / "report.md").read_text()
    assert "| largest sharpness at the end (ratio) | 41 [41, 41] | 41 [41, 41] | 0 [0, 0] |" in page


def test_it_is_drawn_in_the_pictures_and_on_the_interactive_page(folder):
    drawn = figures_of((folder.report / "report.html").read_text(encoding="utf-8"))
    text = str(drawn)
    for title in ("sharpness of a head", "skew of the stream", "loss on the probed text"):
        assert title in text
    for name in ("scores", "activations", "scalars"):
        assert (folder.report / "figures" / f"{name}.png").stat().st_size > 5000


def test_it_is_a_column_of_the_table_of_runs(folder):
    rows = list(csv.DictReader(io.StringIO((folder.report / "runs.csv").read_text())))
    assert {row["sharpness"] for row in rows} == {"41.0"}


def test_it_is_a_series_and_a_summary_of_wandb(folder):
    run = min((folder.out / "runs").iterdir())
    found = probed(20, RunReader(RunFolder(run)))
    assert found["probe/head_sharpness/layer 0/head 1"] == 21.0
    assert found["probe/stream_skew/layer 1"] == 40.0
    assert found["probe/probe_loss"] == 2.5
    assert summary_of(RunFolder(run), RunFolder(run).read_status())["scalar/sharpness"] == 41.0
