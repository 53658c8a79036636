"""Claims about what lies around the command: streams, terminals, the current folder, the environment."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from commands import BIN, LAUNCH, run_command, runs_of

GPT_SCRIPT = BIN / "gpt"
SHADOWS = (
    "gpt", "accelerate", "torch", "numpy", "wandb", "pydantic", "random", "tempfile", "multiprocessing", "signal",
    "json",
)  # fmt: skip
"""modules that a user may have a file of the name of"""


def shell(words: Sequence[str | Path], redirections: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    line = f"{shlex.join([sys.executable, '-m', 'gpt', *map(str, words)])} {redirections}"
    return subprocess.run(line, shell=True, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_change_no_exit_code(tiny_study: Path, tmp_path: Path, closed: str) -> None:
    good, bad = shell(["data", tiny_study], closed), shell(["data", tmp_path / "none"], closed)
    assert (good.returncode, bad.returncode) == (0, 2)
    assert "Traceback" not in good.stderr + bad.stderr


@pytest.mark.slow
def test_files_that_a_run_writes_do_not_get_the_number_of_a_closed_stream(tiny_file: Path, tmp_path: Path) -> None:
    ended = shell(["train", tiny_file, "--out", tmp_path / "out", "--train.steps", "6"], ">&- 2>&- <&-")
    assert ended.returncode == 0
    assert shell(["verify", tmp_path / "out"]).stdout.endswith("1 run, nothing wrong\n")


def test_an_output_that_is_full_is_said_in_one_line(tiny_study: Path) -> None:
    ended = shell(["data", tiny_study], ">/dev/full")
    assert (ended.returncode, ended.stderr) == (2, "gpt: No space left on device\n")


def test_text_beyond_ascii_is_shown_on_an_ascii_terminal(tiny_file: Path, tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    text = tmp_path / "Übung ☃.txt"
    text.write_text("Grüße, ☃! " * 100, encoding="utf-8")
    ended = shell(["data", text], **ascii_only)
    assert (ended.returncode, ended.stdout) == (0, f"{tmp_path}/\\xdcbung \\u2603.txt\n")
    ended = shell(["data", tmp_path / "föhn"], **ascii_only)
    assert (ended.returncode, "f\\xf6hn" in ended.stderr, ended.stderr.count("\n")) == (2, True, 1)
    out = tmp_path / "Ausgänge"
    options = ["--data.source", text, "--train.steps", "6", "--sample.prompt", "Grüße", "--out", out]
    ended = shell(["train", tiny_file, *options], **ascii_only)
    assert ended.returncode == 0, ended.stderr
    ended = shell(["sample", runs_of(out)[0].root, "--prompt", "☃", "--characters", "3"], **ascii_only)
    assert (ended.returncode, ended.stdout[:6]) == (0, "\\u2603"), ended.stderr


SEVERAL = """
import json, sys
from gpt.cli import main
for words in json.load(sys.stdin):
    try:
        main(words)
    except SystemExit as ended:
        print(f"exit code {ended.code or 0}", flush=True)
"""


def optimised(*commands: Sequence[str | Path]) -> list[str]:
    """What each of several commands says and ends with, in one process that has neither assertions nor docstrings."""
    words = json.dumps([list(map(str, command)) for command in commands])
    ended = subprocess.run(
        [sys.executable, "-OO", "-c", SEVERAL], input=words, capture_output=True, text=True,
        env={**os.environ, "PYTHONOPTIMIZE": "2"},
    )  # fmt: skip
    parts = re.split(r"exit code (\d+)\n", ended.stdout)
    assert parts[1::2] == ["0"] * len(commands), ended
    return parts[:-1:2]


def test_optimised_python_has_help(tiny_file: Path) -> None:
    helps = [[*words, "--help"] for words in ([], ["train"], ["study", "check"], ["launch"], ["verify"])]
    *said, fields = optimised(*helps, ["train", tiny_file, "--fields"])
    assert all("usage: gpt" in one for one in said)
    assert "peak learning rate" in fields


@pytest.mark.slow  # torch and all the rest are compiled anew
def test_optimised_python_trains(tiny_study: Path, tmp_path: Path) -> None:
    optimised(["study", "check", tiny_study], ["study", "run", tiny_study, "--out", tmp_path / "out", "--seeds", "2"])


@pytest.mark.parametrize("environment", [{"RANK": "abc"}, {"GPT_RANK_REGISTRY": "/nowhere"}], ids=str)
def test_nonsense_in_a_launchers_variables_is_one_line(
    tiny_file: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    ended = shell(["train", tiny_file, "--out", tmp_path / "out"], **environment)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
    assert ended.stderr.startswith("gpt: ")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def shadows(tmp_path: Path) -> Path:
    """A user's folder full of files that are named like modules."""
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text("raise ImportError('the user\\'s own file was imported')\n")
    return tmp_path


def test_files_in_the_current_folder_are_not_imported(
    tiny_study: Path, shadows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    (shadows / "matplotlibrc").write_bytes(b"no.such.key: 3\nfont.size: big\naxes.grid\n\xff")
    words = ["study", "run", tiny_study, "--out", shadows / "out", "--processes", "2", "--seeds", "2"]
    code, said = run_command([GPT_SCRIPT, *words, "--wandb", "offline"], shadows)
    assert (code, "own file" in said) == (0, False), said
    assert "own file" not in (shadows / "out/wandb/sync.log").read_text()
    assert "have not arrived" not in said
    assert "matplotlib" not in said
    assert list(shadows.glob("out/studies/tiny/report/figures/*.png"))


@pytest.mark.launch
def test_files_in_the_current_folder_are_not_imported_by_a_launch(tiny_file: Path, shadows: Path) -> None:
    words = ["train", tiny_file, "--out", shadows / "launched", "--train.steps", "6"]
    code, said = run_command([GPT_SCRIPT, "launch", LAUNCH / "cpu.yaml", *words], shadows)
    assert (code, "own file" in said) == (0, False), said
