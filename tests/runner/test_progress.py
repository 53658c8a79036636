"""Claims about what a command says of the time that is left."""

import re
from pathlib import Path

import pytest
from whole_runs import planned

from gpt.config import RunConfig, with_values
from gpt.records.run_folder import Status
from gpt.runner import progress
from gpt.runner.progress import Progress
from gpt.study.folder import run_at


def test_a_run_that_falls_back_to_its_checkpoint_is_not_taken_for_standing_still(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [planned(with_values(tiny, {"seed": seed}, "test")) for seed in range(3)]
    killed, steps = runs[0], tiny.train.steps

    def note(run: int, state: str, step: int) -> None:
        folder = run_at(tmp_path, runs[run].fingerprint)
        folder.root.mkdir(parents=True, exist_ok=True)
        folder.write_status(Status(state=state, step=step, steps=steps))  # type: ignore[arg-type]

    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    note(0, "running", steps - 1)
    with Progress(runs, tmp_path) as shown:
        note(0, "running", 20)
        shown.update()
        note(0, "done", steps)
        shown.update()
    assert killed.config.train.steps == steps == 40
    (left,) = re.findall(r"about (\d+) s left", capsys.readouterr().err)
    assert int(left) == 40, "20 steps took 10 s, and 80 are left"
