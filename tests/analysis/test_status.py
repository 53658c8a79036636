"""Claims about what status says of a study: how far it is, and how its runs ended."""

from collections.abc import Callable
from pathlib import Path

import reported
import synthetic
from synthetic import Outcome

from gpt.analysis.collect import collect
from gpt.analysis.status import StudyStatus, study_status
from gpt.analysis.verdicts import needed
from gpt.study.folder import StudyFolder
from gpt.study.plan import PlannedRun
from gpt.study.tuning import FIRST_SEED

TUNE = {"grid": {"optim.lr": [1e-3, 2e-3]}, "seeds": [FIRST_SEED], "extend": False}
NAN = {"state": "diverged", "nan_at": 25}


def status_of(folder: StudyFolder) -> StudyStatus:
    return study_status(needed(collect(folder)))


def of(out: Path, outcome: Callable[[PlannedRun], Outcome], **study: object) -> StudyStatus:
    return status_of(synthetic.write_study(out, synthetic.study(**study), outcome))  # type: ignore[arg-type]


def test_it_counts_every_run_by_variant_and_names_why_one_failed(tmp_path: Path) -> None:
    assert str(status_of(reported.write_messy(tmp_path))).splitlines() == [
        "messy: 17 of 20 runs finished",
        "  pre      7 done     0 non-finite     1 interrupted     1 failed     1 planned",
        "  post     8 done     2 non-finite     0 interrupted     0 failed     0 planned",
        "  failed: pre, optim.lr = 0.003, seed 2: OSError: no space",
    ]
    assert status_of(reported.write_clean(tmp_path)).summary == "clean: 6 of 6 runs finished"


def test_it_counts_failed_runs_as_the_report_does(tmp_path: Path) -> None:
    stuck = Outcome(state="diverged", why="learned nothing")
    status = of(tmp_path, lambda run: [Outcome(), stuck, Outcome(**NAN)][run.seed])  # type: ignore[arg-type]
    assert (status.finished, status.failed) == (6, [])
    assert [each.states for each in status.variants] == [{"done": 1, "learned nothing": 1, "non-finite": 1}] * 2
    assert "1 done     1 non-finite     1 learned nothing" in str(status)


def test_a_run_whose_records_cannot_be_read_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    folder = synthetic.write_study(tmp_path, synthetic.study(), lambda _: Outcome(**NAN))  # type: ignore[arg-type]
    broken = folder.runs()[0]
    broken.events.write_text("no JSON\n")
    (failed,) = status_of(folder).failed
    assert failed.run == broken.root.name
    assert str(broken.events) in failed.why


def test_trials_are_counted_and_nothing_is_said_of_looks_before_a_best_is_chosen(tmp_path: Path) -> None:
    def outcome(run: PlannedRun) -> Outcome:
        return Outcome(state="planned" if run.variant is None else "done")

    tuning = of(tmp_path / "tuning", outcome, tune=TUNE, looks=[2, 3])
    assert tuning.summary == "by-hand: 2 of 4 trials finished; no best is chosen yet"
    assert (tuning.runs, tuning.complete) == (0, False)
    done = of(tmp_path / "done", lambda run: Outcome(), tune=TUNE, looks=[2, 3])
    looked = "look 2 of 2 (3 of 3 pairs) was the last; not every contrast has a verdict"
    assert done.summary == f"by-hand: 4 of 4 trials finished; 6 of 6 runs finished; {looked}"
