"""A probe of a user's own, in a file of theirs: what it declares appears everywhere, and nothing else was edited."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from commands import GPT, run_command, runs_of
from pages import figures_of
from tiny import study_of
from wandb_files import OfflineRun, offline_runs

from gpt.analysis.findings import Findings
from gpt.records.run_folder import RunFolder, load_arrays
from gpt.study.folder import StudyFolder

pytestmark = pytest.mark.slow

OWN = '''
import torch

from gpt.probes.protocol import PROBES, Probe
from gpt.records.catalogue import Array, Summary


@PROBES.register("sharpness")
class Sharpness(Probe):
    """Largest weight of each row of attention, and the sign of the stream."""

    capture = frozenset({"attention", "residual"})

    def arrays(self, context):
        sharpest = Summary(name="sharpest", title="sharpest head", meaning="sharpest head at the end", over="max")
        return [
            Array(name="sharpness", axes=("layer", "head"), unit="weight", title="sharpness of a head",
                  meaning="1, a head looks at one character", summaries=(sharpest,)),
            Array(name="sharpness_by_position", axes=("position",), title="sharpness along the text"),
            Array(name="positive_share", axes=("depth",), unit="share of values", title="values above 0", neutral=0.5),
            Array(name="stream_mean", axes=(), title="mean of the stream"),
            Array(name="squared_weights", axes=("layer", "head", "position", "key"), title="squared attention"),
        ]

    def measure(self, intermediates):
        weights = [w_SBHTU.float() for w_SBHTU in intermediates["attention"]]
        stream = torch.stack([x_SBTD.float() for x_SBTD in intermediates["residual"]], dim=1)
        largest_SLHT = torch.stack([w.amax(-1).mean(1) for w in weights], dim=1)
        return {
            "sharpness": largest_SLHT.mean(-1),
            "sharpness_by_position": largest_SLHT.mean((1, 2)),
            "positive_share": (stream > 0).float().mean((2, 3, 4)),
            "stream_mean": stream.mean((1, 2, 3, 4)),
            "squared_weights": torch.stack([w[:, 0].square() for w in weights], dim=1),
        }
'''
STEPS = (0, 20, 40)
"""probed"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> StudyFolder:
    """Two variants with two seeds each, trained with the probe and synced offline by one command."""
    home = tmp_path_factory.mktemp("own")
    file = study_of(home, excerpt, seeds=2, probes={"extra": "[sharpness]"})
    (home / "sharpness.py").write_text(OWN)
    (home / "run.yaml").write_text(f"plugins: [sharpness.py]\n{(home / 'run.yaml').read_text()}")
    code, said = run_command([*GPT, "study", "run", file, "--wandb", "offline"], home)
    assert code == 0, said
    return StudyFolder(home / "out", "tiny")


def last(run: RunFolder) -> dict[str, np.ndarray]:
    return load_arrays(run.probe_file(STEPS[-1]))


def synced(study: StudyFolder, run: RunFolder) -> OfflineRun:
    (found,) = [offline for offline in offline_runs(study.out / "wandb") if offline.id == run.root.name]
    return found


def test_it_is_in_the_findings_and_the_tables(study: StudyFolder) -> None:
    findings = Findings.read(study.findings)
    assert {"sharpness", "squared_weights"} <= {array.name for array in findings.arrays}
    by_name = {run.root.name: last(run) for run in runs_of(study.out)}
    rows = {row["run"]: row for row in csv.DictReader(io.StringIO((study.report / "runs.csv").read_text()))}
    for variant in findings.settings[0].variants:
        arrays = [by_name[run] for run in variant.runs]
        assert variant.secondary["sharpest"].values == [float(each["sharpness"].max()) for each in arrays]
        assert variant.arrays["positive_share"].neutral == 0.5
        mean = np.mean([each["positive_share"] for each in arrays], axis=0, dtype=np.float64)
        assert variant.arrays["positive_share"].last == mean.tolist()
        for run, value in zip(variant.runs, variant.secondary["sharpest"].values, strict=True):
            assert float(rows[run]["sharpest"]) == value
    assert "| sharpest head at the end (weight) | 0." in (study.report / "report.md").read_text()


def test_it_is_drawn_in_the_pictures_and_on_the_interactive_page(study: StudyFolder) -> None:
    page = (study.report / "report.html").read_text(encoding="utf-8")
    drawn = {name: json.dumps(figure) for name, figure in figures_of(page)["figures"].items()}
    places = {
        "sharpness of a head": ("scores", "heads-over-training"),
        "sharpness along the text": ("profiles",),
        "values above 0": ("activations",),
        "mean of the stream": ("scalars",),
        "squared attention": ("attention", "attention-over-training"),
    }
    for title, names in places.items():
        for name in names:
            assert title in drawn[name], (title, name)
            assert (study.report / "figures" / f"{name}.png").stat().st_size > 2000


def test_it_is_series_pictures_and_a_summary_of_wandb(study: StudyFolder) -> None:
    for run in runs_of(study.out):
        offline = synced(study, run)
        rows = {row["_step"]: row for row in offline.history}
        for step in STEPS:
            arrays = load_arrays(run.probe_file(step))
            assert rows[step]["probe/sharpness/layer 0/head 1"] == float(arrays["sharpness"][0, 1])
            assert rows[step]["probe/positive_share/layer 0"] == float(arrays["positive_share"][1])
            assert rows[step]["probe/stream_mean"] == float(arrays["stream_mean"])
            assert rows[step]["probe/sharpness_by_position/2"] == float(arrays["sharpness_by_position"][2])
        assert any(key.startswith("squared attention/") for key in rows[STEPS[-1]])
        assert offline.summary["scalar/sharpest"] == float(last(run)["sharpness"].max())
