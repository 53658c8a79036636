"""Claims about the command line: bad input gets exit code 2 and one line, before any training."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

import commands
import pytest
import torch
from commands import GPT

from gpt.cli import main
from gpt.commands.training import NAMED, run_planned
from gpt.commands.workspace import Setup, check_writable
from gpt.config import RunConfig
from gpt.errors import InputError
from gpt.fields import keys_of
from gpt.runner.corpora import Corpora
from gpt.runner.launch.exit_codes import RUNS_FAILED
from gpt.runner.layout import Layout
from gpt.runner.ranks.local import Outcome
from gpt.runner.workspace import Workspace
from gpt.study.plan import PlannedRun


def gpt(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    code, out, err = gpt(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    return err


@pytest.mark.parametrize(
    "command", [[], ["study"], ["study", "run"], ["frobnicate"], ["train"], ["study", "run", "--x"]]
)
def test_a_wrong_command_line_is_one_line(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert "gpt" in refused(capsys, *command)


def test_missing_files_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for command in (["train"], ["study", "run"], ["study", "check"]):
        assert "none.yaml: no such file" in refused(capsys, *command, tmp_path / "none.yaml")
    assert "holds no study" in refused(capsys, "study", "status", tmp_path)
    assert "holds no model" in refused(capsys, "sample", tmp_path)


def test_output_that_nobody_reads_any_more_is_no_complaint(tiny_file: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run([*GPT, "data", tiny_file], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.parametrize("content", ["a: &a [*a]\n", "a: " + "[" * 600 + "]" * 600], ids=["recursive", "deep"])
@pytest.mark.parametrize("command", [["train"], ["study", "check"], ["launch"]], ids=" ".join)
def test_yaml_without_end_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str], content: str
) -> None:
    (tmp_path / "x.yaml").write_text(content)
    assert "nested too deeply, or contains itself" in refused(capsys, *command, tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "must hold some text, got an empty file"),
        (b"aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "at least 2 distinct characters, got 'a' alone"),
        (b"a", "at least 2 distinct characters, got 'a' alone"),
        (b"good text, then \xff\xfe", "invalid byte at offset 16"),
        (b"too short", "model.context: got 16"),
    ],
)
def test_a_text_that_cannot_be_learned_from_is_refused(
    capsys: pytest.CaptureFixture[str], tiny_file: Path, tmp_path: Path, content: bytes, expected: str
) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes(content)
    line = refused(capsys, "train", tiny_file, "--data.source", text, "--out", tmp_path / "out")
    assert expected in line
    assert not (tmp_path / "out").exists()


def test_a_prompt_that_the_text_cannot_spell_is_refused(
    capsys: pytest.CaptureFixture[str], tiny_file: Path, tiny_study: Path, tmp_path: Path
) -> None:
    said = refused(capsys, "train", tiny_file, "--sample.prompt", "π", "--out", tmp_path / "out")
    assert "sample.prompt: character 'π'" in said
    tiny_file.write_text(tiny_file.read_text().replace("characters: 20", "characters: 20, prompt: é"))
    assert "sample.prompt: character 'é'" in refused(capsys, "study", "run", tiny_study, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_is_a_file_is_refused(
    capsys: pytest.CaptureFixture[str], tiny_file: Path, tiny_study: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("in the way")
    for command in (["train", tiny_file], ["study", "run", tiny_study]):
        assert str(tmp_path / "out") in refused(capsys, *command, "--out", tmp_path / "out")


def test_a_folder_that_is_not_ours_to_write_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        child = os.fork()
        if child == 0:  # root may write anywhere, so a child becomes nobody
            if os.geteuid() == 0:
                os.setuid(65534)
            with contextlib.suppress(InputError):
                check_writable(Path(folder))
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        Path(folder).chmod(0o755)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--processes", "0", "--processes: got '0', must be auto or a whole number from 1"),
        ("--processes", "many", "--processes: got 'many'"),
        ("--threads", "0", "--threads: got 0, must be at least 1 and at most 1024"),
        ("--device", "tpu", "--device: got 'tpu', must be cpu, cuda or auto"),
        ("--seeds", "1", "--seeds: got 1, must be at least 2 seeds, as a difference needs"),
        ("--seeds", "99999999999", "and at most 10,000"),
        ("--seeds", "x", "argument --seeds: got 'x', must be a whole number"),
    ],
)
def test_an_option_that_cannot_be_is_refused(
    capsys: pytest.CaptureFixture[str], tiny_study: Path, tmp_path: Path, option: str, value: str, expected: str
) -> None:
    line = refused(capsys, "study", "run", tiny_study, "--out", tmp_path / "out", option, value)
    assert expected in line
    assert not (tmp_path / "out" / "runs").exists()


def test_two_studies_of_one_name_are_refused(
    capsys: pytest.CaptureFixture[str], tiny_study: Path, tmp_path: Path
) -> None:
    twin = tmp_path / "twin.yaml"
    twin.write_text(tiny_study.read_text())
    assert "two of the studies are named tiny" in refused(
        capsys, "study", "run", tiny_study, twin, "--out", tmp_path / "out"
    )


def test_train_check_sample_and_status_work_together(
    capsys: pytest.CaptureFixture[str], tiny_file: Path, tiny_study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, said, _ = gpt(capsys, "study", "check", tiny_study)
    assert code == 0
    for expected in (
        "model.norm_placement alone: pre, post",
        "2 variants x 1 setting x 3 seeds",
        "25 windows of validation text for choices, 24 windows of test text for the verdict alone",
        "test/loss.at_best_val; a difference below 0.01 would not matter",
        "and for 1 contrast it takes 0.05 or less, and thus 6 seeds",
    ):
        assert expected in said
    assert "d_z of 1.43 at 80 % power" in gpt(capsys, "study", "check", tiny_study, "--seeds", "6")[1]
    code, trained = commands.gpt("train", tiny_file, "--out", out, home=tmp_path)
    assert code == 0, trained
    run = Path(trained.split("done: ")[1].strip())
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lowest, step, test = min((row["val/loss"], row["step"], row["test/loss"]) for row in rows if "val/loss" in row)
    line = f"lowest validation loss: {lowest:.4f} nats per character, at step {step}; test loss there: {test:.4f}\n"
    assert line in trained
    assert json.loads((run / "status.json").read_text())["state"] == "done"
    code, said, _ = gpt(capsys, "sample", run, "--prompt", "First", "--characters", "9")
    assert code == 0
    assert said.startswith("First")
    assert len(said) == len("First") + 9 + 1
    assert said == gpt(capsys, "sample", run, "--prompt", "First", "--characters", "9")[1]
    as_json = json.loads(gpt(capsys, "sample", run, "--prompt", "First", "--characters", "9", "--json")[1])
    assert as_json == {"run": run.name, "prompt": "First", "characters": 9, "temperature": 0.8, "seed": 0,
                       "text": said.removesuffix("\n")}  # fmt: skip
    assert "'é'" in refused(capsys, "sample", run, "--prompt", "é")
    for option, value in (
        ("--characters", "-5"),
        ("--temperature", "0"),
        ("--prompt", ""),
        ("--seed", "-1"),
        ("--seed", str(2**63)),
    ):
        assert option[2:] in refused(capsys, "sample", run, option, value)
    assert "nothing to do" in commands.gpt("train", tiny_file, "--out", out, home=tmp_path)[1]


def test_fields_shows_every_field_with_the_files_value(
    capsys: pytest.CaptureFixture[str], tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said, _ = gpt(capsys, "train", tiny_file, "--fields", "--optim.lr", "2e-3")
    assert code == 0
    assert "--optim.lr" in said
    assert "0.002" in said
    assert "peak learning rate" in said


def test_what_fields_prints_is_what_the_command_line_takes(tiny_file: Path) -> None:
    prompt = "ROMEO: it's\n\t# \u00e9\\"
    first = subprocess.run(
        [*GPT, "train", tiny_file, "--fields", "--sample.prompt", prompt, "--optim.clip", "off"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    words = [line for line in first.splitlines() if line.startswith("--")]
    assert len(words) == len(keys_of(RunConfig))
    command = f"{shlex.join(GPT)} train {shlex.quote(str(tiny_file))} --fields {' '.join(words)}"
    again = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
    assert again == first
    assert "one of sinusoidal, rope" in first


def test_a_fields_value_may_look_like_an_option(capsys: pytest.CaptureFixture[str], tiny_file: Path) -> None:
    words = ["--sample.prompt", "--out", "--seed", "7", "--fields"]
    said = gpt(capsys, "train", *words, tiny_file)[1]
    assert "--sample.prompt --out\n" in said
    assert "--seed 7\n" in said


def test_versions_are_said_without_an_import_of_torch(capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = gpt(capsys, "--version")
    assert code == 0
    named = [line.split()[0] for line in said.splitlines()]
    assert named == ["gpt", "python", "torch", "accelerate", "deepspeed", "wandb"]
    program = "import gpt.cli, sys; assert not {'torch', 'wandb', 'accelerate'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_check_and_data_answer_in_json(capsys: pytest.CaptureFixture[str], tiny_study: Path, excerpt: Path) -> None:
    (study,) = json.loads(gpt(capsys, "study", "check", tiny_study, "--json")[1])
    assert (study["name"], study["factor"], study["runs"], study["contrasts"]) == ("tiny", "model.norm_placement", 6, 1)
    assert (study["seeds"], study["settings"], study["smallest_p"]) == ([0, 1, 2], [{}], 0.25)
    assert [size["variant"] for size in study["sizes"]] == ["pre", "post"]
    assert all(size["parameters"][0] > 1000 for size in study["sizes"])
    data = json.loads(gpt(capsys, "data", excerpt, "--json")[1])
    text = excerpt.read_text()
    assert (data["path"], data["characters"], data["distinct_characters"]) == (str(excerpt), 8000, len(set(text)))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "got an empty file"),
        ("wide".encode("utf-16"), "invalid byte at offset 0"),
        ("wide".encode("utf-16-le"), "a zero byte at offset 1, as UTF-16 has them"),
        ("café".encode("latin-1"), "invalid byte at offset 3"),
        (b"aaaa", "at least 2 distinct characters"),
    ],
)
def test_data_refuses_a_file_that_is_no_text(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, expected: str
) -> None:
    (tmp_path / "text").write_bytes(content)
    said = refused(capsys, "data", tmp_path / "text")
    assert expected in said
    assert f"data.source: {tmp_path / 'text'}" in said


def test_of_many_runs_without_a_result_some_are_named_and_the_rest_counted(
    capsys: pytest.CaptureFixture[str], tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(runs: list[PlannedRun], *rest: object) -> Outcome:
        return Outcome(stopped=False, unfinished=[(run, "a process ended with code -9") for run in runs], elsewhere=0)

    monkeypatch.setattr("gpt.runner.run.train_runs", failing)
    place = Workspace(tmp_path, Corpora(tmp_path), torch.device("cpu"))
    for many, counted in ((NAMED, []), (NAMED + 3, [f"not done: 3 more; `gpt study status {tmp_path}` counts them"])):
        runs = [PlannedRun("x", (), seed, tiny, f"{seed:016x}") for seed in range(many)]
        assert run_planned(runs, Setup(place, None, cast(Layout, None))) == RUNS_FAILED
        said = capsys.readouterr().err.splitlines()
        assert [line for line in said if "ended with code -9" in line] == said[:NAMED]
        assert said[NAMED:] == counted


def listens(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal; Python has none for SIGUSR1."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(status["SigCgt"], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_request_to_stop_before_anything_is_trained_is_obeyed(tiny_study: Path, tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-m", "gpt", "study", "run", str(tiny_study), "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not listens(process.pid, signal.SIGUSR1):  # from then on, and while it is still importing torch
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert "stopped on request; run the same command again to resume" in said
    assert "Traceback" not in said


def test_a_run_file_in_place_of_a_launch_file_is_bad_input(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(repository / "configs/runs/char_quick.yaml")
    with pytest.raises(SystemExit) as ended:
        main(["launch", run, "train", run])
    assert ended.value.code == 2
    assert (
        capsys.readouterr().err == f"gpt: {run}: no distributed_type, must be a file for accelerate; launch/ has some\n"
    )


@pytest.mark.parametrize(
    ("words", "new"),
    [
        (["certify"], "check-gradients"),
        (["study", "run", "x.yaml", "--seeds-per-pack=2"], "--seeds-per-process"),
    ],
)
def test_words_of_an_earlier_version_are_answered_with_todays(
    words: list[str], new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"was renamed; write {new} instead" in refused(capsys, *words)


def test_a_folder_of_an_earlier_version_is_refused_by_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cells").mkdir()
    assert "holds runs of version 0.1 (cells/), which are not read any more" in refused(
        capsys, "study", "status", tmp_path
    )
