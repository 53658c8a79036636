"""A configuration, data or stack that is another when a run goes on: refused by name, or another run; never merged."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import GPT, run_command, runs_of
from small import Small
from tally import Tally
from test_damage import stop_after

from gpt.cli import main
from gpt.errors import InputError
from gpt.runner.run_json import check_stack
from gpt.runner.stack import describe_stack
from gpt.study.study_file import load_study

RUN = """\
data: {source: text.txt, val_fraction: 0.1}
model: {layers: 1, heads: 2, width: 8, context: 8, position: rope, norm_placement: pre}
optim: {lr: 1e-2, warmup_steps: 2}
train: {steps: 12, batch_size: 4, eval_every: 6, checkpoint_every: 4}
probes: {every: 6, windows: 2, heatmap_characters: 4}
sample: {characters: 5}
"""
STUDY = """\
name: tiny
question: Which placement?
base: run.yaml
factor: model.norm_placement
variants: [pre, post]
seeds: 2
smallest_effect: 0.01
"""


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.fault("another stack when a run goes on", sampled=True)
def test_a_run_begun_by_another_stack_is_refused_by_name(faults: Tally, one: Small, tmp_path: Path) -> None:
    import torch

    stop_after(one, tmp_path / "whole", 9)
    made_by = json.loads(one.run(tmp_path / "whole").run_json.read_text())
    assert {"torch", "numpy", "threads", "device"} <= set(made_by["stack"])
    assert {"shared", "engine=DDPEngine"} <= set(made_by["code"])
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


@pytest.mark.fault("another configuration in run.json when a run goes on", sampled=True)
def test_a_run_whose_configuration_was_edited_is_refused_by_name(faults: Tally, one: Small, tmp_path: Path) -> None:
    stop_after(one, tmp_path / "whole", 9)
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


def gpt(arguments: list[str | Path], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and what was said, of a command that ends before any process is started."""
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return int(ended.value.code or 0), capsys.readouterr().err


@pytest.mark.fault("a study or its text edited between two commands")
def test_an_edited_study_is_refused_and_an_edited_run_is_another_run(
    faults: Tally, excerpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = excerpt.read_text()
    Path("text.txt").write_text(text)
    Path("run.yaml").write_text(RUN)
    Path("study.yaml").write_text(STUDY)
    code, said = run_command([*GPT, "study", "run", "study.yaml"], tmp_path)
    assert code == 0, said
    runs = {run.root.name: run.metrics.read_bytes() for run in runs_of(Path("out"))}
    edits = {
        "seeds": ("study.yaml", STUDY.replace("seeds: 2", "seeds: 3")),
        "variants": ("study.yaml", STUDY.replace("[pre, post]", "[pre, peri]")),
        "smallest_effect": ("study.yaml", STUDY.replace("0.01", "0.5")),
        "base.optim.lr": ("run.yaml", RUN.replace("1e-2", "2e-2")),
        "data with sha256": ("text.txt", text[:-1] + "!"),
    }
    for what, (file, content) in edits.items():
        before = Path(file).read_text()
        Path(file).write_text(content)
        with faults.one():
            code, said = gpt(["study", "run", "study.yaml"], capsys)
            assert (code, len(said.splitlines())) == (2, 1), said
            assert f"the study was started {'on' if 'data' in what else 'with'} {what}" in said
        Path(file).write_text(before)
    assert {run.root.name: run.metrics.read_bytes() for run in runs_of(Path("out"))} == runs
    with faults.one():  # how often a run is made durable cannot change a number
        Path("run.yaml").write_text(RUN.replace("checkpoint_every: 4", "checkpoint_every: 3"))
        code, said = gpt(["study", "run", "study.yaml"], capsys)
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
    (inside / "run.yaml").write_text(RUN.replace("text.txt", str(excerpt)))
    for name in NAMES:
        with faults.one():
            (inside / "study.yaml").write_text(STUDY.replace("name: tiny", f"name: {json.dumps(name)}"))
            with pytest.raises(InputError, match=r"study\.yaml:?1?: .*") as refused:
                load_study(inside / "study.yaml")
            assert len(str(refused.value).splitlines()) == 1
    assert {path.name for path in tmp_path.rglob("*")} == {"inside", "run.yaml", "study.yaml"}
