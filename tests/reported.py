"""Two studies of one output folder: a clean one, and one in which much went wrong."""

from dataclasses import dataclass
from pathlib import Path

import synthetic
from synthetic import Outcome

from gpt.analysis.findings import Findings
from gpt.study.folder import StudyFolder

CLEAN_A, CLEAN_B = [2.0, 2.02, 2.04], [2.03, 2.03, 2.06]


def clean_outcome(run):
    """Clipping that acts as it should; values are those above."""
    limit = run.variant
    value = (CLEAN_B if limit is None else CLEAN_A)[run.seed]
    return Outcome(value, norm=1.5, scale=1 / 3 if limit else 1.0, first_loss=4 + 0.001 * (limit or 0))


def messy_outcome(run):
    """Two learning rates, no probes. At the larger one `post` diverges twice and three runs of `pre` are not done."""
    post, large = run.variant == "post", dict(run.setting)["optim.lr"] > 2e-3
    outcome = Outcome(
        2.1 + 0.01 * run.seed + 0.1 * post + 0.05 * run.seed * post, first_loss=4 + 0.1 * post, probes=False
    )
    if post and large and run.seed < 2:
        outcome.state, outcome.nan_at = "diverged", 25 + run.seed
        outcome.why = f"train/loss not finite at step {outcome.nan_at}"
    if not post and large and run.seed >= 2:
        outcome.state = {2: "failed", 3: "running", 4: "planned"}[run.seed]
        outcome.why = "OSError: no space" if run.seed == 2 else ""
    return outcome


def unprobed(outcome):
    """The outcomes without probes and use of context: for reports that have only what every report has."""

    def bare(run):
        found = outcome(run)
        found.probes = found.long_range = False
        return found

    return bare


@dataclass
class Reported:
    """An output folder with its reports."""

    out: Path
    clean: StudyFolder
    messy: StudyFolder
    printed: str

    def findings(self, folder):
        return Findings.read(folder.findings)

    def page(self, folder):
        return (folder.report / "report.md").read_text()


def write_clean(out, backwards=False, outcome=clean_outcome):
    planned = synthetic.study(name="clean", variants=[0.5, None])
    return synthetic.write_study(out, planned, outcome, backwards)


def write_messy(out):
    settings = {"optim.lr": [1e-3, 3e-3]}
    planned = synthetic.study("model.norm_placement", ["pre", "post"], seeds=5, name="messy", settings=settings)
    return synthetic.write_study(out, planned, messy_outcome)
