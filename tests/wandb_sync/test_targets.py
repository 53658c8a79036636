"""Claims about where in W&B a run belongs, and how much of it has arrived."""

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import Outcome, study, write_study

from gpt.errors import InputError
from gpt.wandb_sync.targets import Destination, everything, read_mode, read_project


def test_the_command_line_goes_before_the_environment() -> None:
    assert read_mode(None, {}) == "disabled"
    assert read_mode(None, {"WANDB_MODE": ""}) == "disabled"
    assert read_mode(None, {"WANDB_MODE": "offline"}) == "offline"
    assert read_mode("online", {"WANDB_MODE": "offline"}) == "online"
    with pytest.raises(InputError, match="WANDB_MODE: got 'on', must be online, offline or disabled"):
        read_mode(None, {"WANDB_MODE": "on"})


@pytest.mark.parametrize("name", ["a/b", "a:b", "x" * 129, ".."])
def test_a_project_that_wandb_would_refuse_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="WANDB_PROJECT"):
        read_project({"WANDB_PROJECT": name})


def test_every_run_of_a_study_has_a_run_named_by_variant_and_setting(tmp_path: Path) -> None:
    planned = study(seeds=2, settings={"optim.lr": [1e-3, 3e-3]})
    write_study(tmp_path, planned, lambda _: Outcome(state="planned"))
    targets = Destination(tmp_path, "offline", None, ["by-hand"]).iter_runs()
    assert len({target.folder for target in targets}) == 8
    assert {target.project for target in targets} == {"by-hand"}
    arms = {"1.0 lr=0.001", "1.0 lr=0.003", "off lr=0.001", "off lr=0.003"}
    assert {target.group for target in targets} == {target.arm for target in targets} == arms
    assert targets[0].tags == ("by-hand", "1.0", "lr=0.001")


def test_a_run_of_two_studies_is_one_run_in_each_project_and_one_where_there_is_one_project(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_study(tmp_path, study(name=name), lambda _: Outcome())
    assert len(Destination(tmp_path, "offline", None, ["one", "two"]).iter_runs()) == 12
    assert len(Destination(tmp_path, "offline", "both", ["one", "two"]).iter_runs()) == 6


def test_runs_without_a_study_are_synced_by_themselves(tmp_path: Path) -> None:
    write_study(tmp_path, study(), lambda _: Outcome())
    assert everything(tmp_path, "offline", None).standalone == ()
    (tmp_path / "studies" / "by-hand" / "runs.json").unlink()
    alone = everything(tmp_path, "offline", None)
    assert len(alone.standalone) == 6
    assert {(target.project, target.group) for target in alone.iter_runs()} == {("gpt-study", "gpt train")}


def test_a_folder_with_nothing_in_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no study and no run"):
        everything(tmp_path, "online", None)


def test_what_has_arrived_is_noted_for_each_mode_and_project(tmp_path: Path) -> None:
    write_study(tmp_path, study(), lambda _: Outcome())
    to = everything(tmp_path, "offline", None)
    target = to.iter_runs()[0]
    status = target.folder.read_status()
    assert to.count_missing(to.iter_runs()) == 6
    to.write_cursor(target, 40, status)
    assert to.read_cursor(target).ended
    assert to.count_missing(to.iter_runs()) == 5
    for other in (replace(to, mode="online"), replace(to, project="elsewhere")):
        assert other.count_missing(other.iter_runs()) == 6
    target.folder.write_status(replace(status, attempts=2))
    assert to.count_missing(to.iter_runs()) == 6


def test_a_cursor_that_cannot_be_read_means_that_nothing_has_arrived(tmp_path: Path) -> None:
    write_study(tmp_path, study(), lambda _: Outcome())
    to = everything(tmp_path, "offline", None)
    file = to.cursor_file(to.iter_runs()[0])
    file.parent.mkdir(parents=True)
    for corrupt in ("", "[]", '{"through": 3, "more": 1}'):
        file.write_text(corrupt)
        assert to.read_cursor(to.iter_runs()[0]).through == -1
