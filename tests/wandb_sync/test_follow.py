"""Claims about how many W&B runs are open at a time, with W&B's library offline in this process."""

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import Outcome, study, write_study

from gpt.wandb_sync import follow
from gpt.wandb_sync.run import start_again
from gpt.wandb_sync.targets import Destination


def test_no_more_runs_are_open_than_may_be_and_every_run_has_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "LIVE_RUNS", 2)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    write_study(tmp_path, study(seeds=2), lambda _: Outcome(state="running"))
    to = Destination(tmp_path, "offline", None, ["by-hand"])
    try:
        follower = follow.Follower(to, lambda: None)
        targets = to.iter_runs()
        for finished, opened in ((0, 2), (1, 3), (3, 4)):
            for target in targets[:finished]:
                target.folder.write_status(replace(target.folder.read_status(), state="failed"))
            follower.poll(last=False)
            follower.poll(last=False)
            open_at_some_time = len(list(tmp_path.glob("wandb/offline-run-*")))
            assert open_at_some_time == opened
            assert len(list(to.folder("by-hand").glob("*.json"))) == finished
        follower.poll(last=True)
        assert len(list(to.folder("by-hand").glob("*.json"))) == 4
        assert [to.read_cursor(target).through for target in targets] == [19] * 4
    finally:
        start_again()


def test_runs_that_follow_from_trials_are_sent_by_the_same_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    tuned = study(seeds=2, tune={"grid": {"optim.lr": [1e-3, 2e-3]}, "seeds": [100], "extend": False})
    write_study(tmp_path, tuned, lambda run: Outcome(state="planned" if run.seed == 100 else "done"))
    to = Destination(tmp_path, "offline", None, ["by-hand"])
    try:
        follower = follow.Follower(to, lambda: None)
        assert len(to.iter_runs()) == 4
        write_study(tmp_path, tuned, lambda _: Outcome(probes=False, long_range=False))
        follower.poll(last=True)
        assert [to.read_cursor(target).ended for target in to.iter_runs()] == [True] * 8
    finally:
        start_again()
