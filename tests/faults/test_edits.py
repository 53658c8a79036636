"""A configuration, data or stack that is another when a run goes on: refused by name, or another run; never merged."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import gpt, runs_of
from files import edited
from small import Small
from tally import Tally
from tiny import SMALLEST, UNPROBED, study_of, write_run, write_study

from gpt.errors import InputError
from gpt.runner.run_json import check_stack
from gpt.runner.stack import describe_stack
from gpt.study.study_file import load_study


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.fault("another stack when a run goes on", sampled=True)
def test_a_run_begun_by_another_stack_is_refused_by_name(faults: Tally, one: Small, tmp_path: Path) -> None:
    one.train_until(tmp_path / "whole", 9)
    made_by = json.loads(one.run(tmp_path / "whole").run_json.read_text())
    assert {"torch", "numpy", "threads", "device"} <= set(made_by["stack"])
    assert {"shared", "engine=SingleProcessEngine"} <= set(made_by["code"])
    keys = [("stack", key) for key in made_by["stack"]] + [("code", part) for part in made_by["code"]]
    for section, key in faults.some(keys, 3):
        out = Path(shutil.copytree(tmp_path / "whole", tmp_path / key))
        run = one.run(out)
        edit_json(run.run_json, lambda run, section=section, key=key: run[section].update({key: "another"}))
        wrong = f"made with {'code of ' if section == 'code' else ''}{key} = 'another'"
        with faults.one():
            with pytest.raises(InputError, match=f"run.json: {wrong}, now it is "):
                check_stack(run, one.runs[0].config, describe_stack(torch.device("cpu")))
            before = run.metrics.read_bytes()
            one.train(out)
            assert run.read_status().state == "failed"
            assert wrong in run.read_status().why
            assert run.metrics.read_bytes() == before


def test_a_run_begun_with_another_setting_of_the_kernels_is_refused(
    one: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.train_until(tmp_path, 9)
    run, cpu = one.run(tmp_path), torch.device("cpu")
    check_stack(run, one.runs[0].config, describe_stack(cpu))
    edit_json(run.run_json, lambda run: run["stack"].update(ONEDNN_MAX_CPU_ISA="AVX2"))
    with pytest.raises(InputError, match="made with ONEDNN_MAX_CPU_ISA = 'AVX2', now it is None"):
        check_stack(run, one.runs[0].config, describe_stack(cpu))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    check_stack(run, one.runs[0].config, describe_stack(cpu))
    monkeypatch.setenv("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1")
    with pytest.raises(InputError, match="made with TORCH_ALLOW_TF32_CUBLAS_OVERRIDE = None, now it is '1'"):
        check_stack(run, one.runs[0].config, describe_stack(cpu))


@pytest.mark.fault("another configuration in run.json when a run goes on", sampled=True)
def test_a_run_whose_configuration_was_edited_is_refused_by_name(faults: Tally, one: Small, tmp_path: Path) -> None:
    one.train_until(tmp_path / "whole", 9)
    edits: list[Callable[[Any], None]] = [
        lambda run: run["config"]["optim"].update(lr=2e-2),
        lambda run: run["config"]["model"].update(norm_placement="post"),
        lambda run: run["data"].update(sha256="0" * 64),
        lambda run: run.update(seed=1),
        lambda run: run.update(layers=["embedding"]),
        lambda run: run.update(parameters=1),
        lambda run: run.update(probe_text=""),
        lambda run: run.update(fingerprint="0" * 16),
        lambda run: run.pop("config"),
        lambda run: run.pop("data"),
    ]
    for number, edit in enumerate(faults.some(edits, 3)):
        out = Path(shutil.copytree(tmp_path / "whole", tmp_path / str(number)))
        run = one.run(out)
        edit_json(run.run_json, edit)
        with faults.one():
            one.train(out)
            assert run.read_status().state == "failed"
            assert re.search(r"run\.json: corrupt", run.read_status().why)


@pytest.mark.fault("a study or its text edited between two commands")
def test_an_edited_study_is_refused_and_an_edited_run_is_another_run(
    faults: Tally, excerpt: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(excerpt.read_text())
    study = study_of(tmp_path, text.name, SMALLEST, UNPROBED)
    run_file = tmp_path / "run.yaml"
    code, said = gpt("study", "run", study, home=tmp_path)
    assert code == 0, said
    before = {run.root.name: run.metrics.read_bytes() for run in runs_of(tmp_path / "out")}
    edits = {
        "seeds": (study, "seeds: 2", "seeds: 3"),
        "variants": (study, "[pre, post]", "[pre, peri]"),
        "smallest_effect": (study, "0.01", "0.5"),
        "base.optim.lr": (run_file, "1e-2", "2e-2"),
        "data with sha256": (text, text.read_text()[-9:], "another!!"),
    }
    for what, (file, old, new) in edits.items():
        whole = file.read_text()
        with faults.one():
            code, said = gpt("study", "run", edited(file, old, new).parent / study.name, home=tmp_path)
            assert (code, len(said.splitlines())) == (2, 1), said
            assert f"the study was started {'on' if 'data' in what else 'with'} {what}" in said
        file.write_text(whole)
    assert {run.root.name: run.metrics.read_bytes() for run in runs_of(tmp_path / "out")} == before
    with faults.one():  # how often a run is made durable cannot change a number
        edited(run_file, "checkpoint_every: 4", "checkpoint_every: 3")
        code, said = gpt("study", "run", study, home=tmp_path)
        assert code == 0
        assert "nothing to do" in said


NAMES = [
    "..", ".", "", "../x", "../../x", "/etc/x", "/", "a/b", "a\\b", "x/../../y", "~", "~root", ".hidden", "-rf", "a b",
    "a\tb", "a\nb", "a\0b", "a;b", "$(touch x)", "`x`", "*", "?", "con:", "é", "a" * 300, "🙂", "%2e%2e", "..%2f",
    "x" * 65, "A|B", "<b>", "'", '"', "a,b", "a=b", "@x", "#x", "!x", "\uff41",
]  # fmt: skip
"""What must never become a folder's name"""


@pytest.mark.fault("a study's name that tries to leave the folder, or to be a command")
def test_names_that_are_no_plain_words_are_refused(faults: Tally, excerpt: Path, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    run_file = write_run(inside / "run.yaml", excerpt)
    for name in NAMES:
        with faults.one():
            study = write_study(inside / "study.yaml", run_file, name=json.dumps(name))
            with pytest.raises(InputError, match=r"study\.yaml:?1?: .*") as refused:
                load_study(study)
            assert len(str(refused.value).splitlines()) == 1
    assert {path.name for path in tmp_path.rglob("*")} == {"inside", "run.yaml", "study.yaml"}
