"""Studies of clipping in which the factor acts as it should, and their findings."""

import synthetic
from synthetic import Outcome

from gpt.analysis.build import build_findings
from gpt.analysis.collect import collect


def clipped(run, last_loss=2.0, **more):
    """A run of a clipping study in which the factor acts as it should."""
    scale = 1.0 if run.variant is None else 0.8
    return Outcome(last_loss, norm=run.variant / 0.8 if run.variant else 1.25, scale=scale, **apart(run), **more)


def apart(run):
    return {"first_loss": 4.0 + 0.001 * (run.variant or 0)}


def found(tmp_path, outcome, backwards=False, **study):
    return build_findings(collect(synthetic.write_study(tmp_path, synthetic.study(**study), outcome, backwards)))
