"""`train.step: auto`: measured once, the same for all runs that are together, and written down."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from commands import gpt, layouts_of, records, rows_of, runs_of
from needs import go_without
from reference import run_config
from tiny import SMALLEST, write_run

from gpt.bench.spread import QUICK
from gpt.bench.step_modes import time_modes
from gpt.errors import InputError
from gpt.fingerprint import fingerprint
from gpt.records.files import read_json, write_json
from gpt.run_file import read_run_file
from gpt.runner.corpora import Corpora
from gpt.runner.picks import pick_step, step_picks, with_pick
from gpt.runner.workspace import Workspace
from gpt.study.plan import PlannedRun
from gpt.train.engines import compiled

CPU = torch.device("cpu")


def planned(seed: int, step: str = "auto", **model: object) -> PlannedRun:
    config = run_config(train={"step": step}, **model).model_copy(update={"seed": seed})
    return PlannedRun("a", (), seed, config, fingerprint(config, "data"))


class Clock:
    """Says how fast steps are, and how often it was asked."""

    def __init__(self, **seconds: float):
        self.seconds, self.asked = seconds, 0

    def __call__(self, _run: PlannedRun) -> Mapping[str, list[float]]:
        self.asked += 1
        return {mode: [seconds, seconds * 1.1, seconds * 50] for mode, seconds in self.seconds.items()}


def test_the_fastest_at_the_median_is_picked_once_for_all_runs(tmp_path: Path) -> None:
    clock, runs = Clock(eager=2.0, compiled=1.0), [planned(0), planned(1, norm_placement="post")]
    first = pick_step(runs, tmp_path, CPU, 2, clock)
    assert (first.picked, first.measured_on, first.seeds_together) == ("compiled", runs[0].fingerprint, 2)
    assert [with_pick(run, tmp_path).train.step for run in runs] == ["compiled", "compiled"]
    slower_now = Clock(eager=1.0, compiled=2.0)
    again = pick_step([*runs, planned(2)], tmp_path, CPU, 2, slower_now)
    assert (again.picked, slower_now.asked, clock.asked) == ("compiled", 0, 1)
    assert with_pick(planned(2), tmp_path).train.step == "compiled", "a seed more is like the others"
    assert [len(pick.runs) for pick in step_picks(tmp_path).read()] == [3]


def test_a_run_that_names_its_way_keeps_it(tmp_path: Path) -> None:
    pick_step([planned(0)], tmp_path, CPU, 1, Clock(eager=1.0))
    assert with_pick(planned(0, "compiled"), tmp_path).train.step == "compiled"


def test_without_a_choice_steps_are_plain(tmp_path: Path) -> None:
    found = pick_step([planned(0)], tmp_path, CPU, 1, None)
    assert (found.picked, found.seconds) == ("eager", {})
    assert with_pick(planned(7), tmp_path).train.step == "eager", "nor where nothing was picked"


def test_a_pick_of_another_machine_is_refused(tmp_path: Path) -> None:
    pick_step([planned(0)], tmp_path, CPU, 1, Clock(eager=1.0))
    found = read_json(step_picks(tmp_path).path)
    found["picks"][0]["device"] = "NVIDIA H100"
    write_json(step_picks(tmp_path).path, found)
    with pytest.raises(InputError, match="picked on NVIDIA H100 with torch"):
        pick_step([planned(0)], tmp_path, CPU, 1, Clock(eager=1.0))
    step_picks(tmp_path).path.write_text('{"picks": 3}')
    with pytest.raises(InputError, match=r"step_picks.json: picks: got 3"):
        step_picks(tmp_path).read()


def test_a_run_that_names_no_way_is_the_run_that_it_was() -> None:
    names = {planned(0, step).fingerprint for step in ("auto", "eager", "compiled", "graph")}
    assert len(names) == 4
    plain = run_config()
    assert fingerprint(plain, "data") == planned(0, "eager").fingerprint


def timed(excerpt: Path, tmp_path: Path) -> dict[str, list[float]]:
    config = read_run_file(write_run(tmp_path / "run.yaml", excerpt, SMALLEST), ["--train.step=auto"])
    run = PlannedRun("a", (), 0, config, "")
    return time_modes(run, Workspace(tmp_path, Corpora(tmp_path), CPU), 2, QUICK)


def test_every_way_is_timed_in_turns(excerpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    found = timed(excerpt, tmp_path)
    assert list(found) == ["eager", "compiled"]
    assert {len(samples) for samples in found.values()} == {QUICK.rounds}


def test_a_way_that_fails_here_is_named_and_left_out(
    excerpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(compiled, "BACKEND", broken)
    assert list(timed(excerpt, tmp_path)) == ["eager"]
    assert "compiled steps fail here: " in capsys.readouterr().err


def test_a_command_says_what_it_picked_and_uses_it(
    excerpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt.bench.step_modes.available_modes", lambda *_, **__: ["eager"])
    run = write_run(tmp_path / "run.yaml", excerpt, SMALLEST)
    code, said = gpt("train", run, "--train.step", "auto", "--device", "cpu", home=tmp_path)
    assert code == 0, said
    assert "train.step auto: eager" in said
    (folder,) = runs_of(tmp_path / "out")
    assert layouts_of(folder)[0]["engine"] == "single process"
    assert json.loads(folder.run_json.read_text())["config"]["train"]["step"] == "auto"
    code, said = gpt("verify", "out", home=tmp_path)
    assert code == 0, said


@pytest.mark.parametrize("words", [["--train.step", "graph"], ["--train.step", "compiled", "--ranks-per-run", "2"]])
def test_what_cannot_be_had_is_one_line(excerpt: Path, tmp_path: Path, words: list[str]) -> None:
    run = write_run(tmp_path / "run.yaml", excerpt, SMALLEST)
    code, said = gpt("train", run, "--device", "cpu", *words, home=tmp_path)
    assert (code, len(said.splitlines())) == (2, 1)
    assert "train.step: got " in said


@pytest.mark.slow
def test_a_compiled_run_has_the_losses_of_the_plain_one_and_says_how_it_was_computed(
    excerpt: Path, tmp_path: Path
) -> None:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        go_without("compiler", "torch.compile needs a C++ compiler")
    run = write_run(tmp_path / "run.yaml", excerpt, SMALLEST)
    for step in ("eager", "compiled"):
        words = ["train", run, "--train.step", step, "--device", "cpu", "--out", step]
        code, said = gpt(*words, home=tmp_path)
        assert code == 0, said
        code, said = gpt(*words, home=tmp_path)
        assert code == 0, "done, and found so"
    (plain,), (fast,) = (runs_of(tmp_path / step) for step in ("eager", "compiled"))
    assert layouts_of(fast)[0]["engine"] == "single process, compiled"
    assert plain.root.name != fast.root.name
    assert records(tmp_path / "compiled").keys()
    for row, twin in zip(rows_of(plain), rows_of(fast), strict=True):
        for key in row.keys() & {"train/loss", "grad/norm", "val/loss"}:
            assert row[key] == pytest.approx(twin[key], rel=1e-4), (key, row["step"])
