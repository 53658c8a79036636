"""What `slurm/submit.sh` says and refuses before it asks a cluster for anything."""

import re
import subprocess
from pathlib import Path

import pytest


def submit(repository: Path, folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`submit.sh` where there is no cluster."""
    environment = {"PATH": "/usr/bin:/bin"} | variables
    return subprocess.run(
        [repository / "slurm/submit.sh", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_a_dry_run_shows_both_commands_and_submits_nothing(repository: Path, tiny_study: Path, tmp_path: Path) -> None:
    plan = {"GPT_TASKS": "8", "GPT_AT_ONCE": "3", "GPT_GPUS": "4", "GPT_ACCOUNT": "me", "GPT_SBATCH": "--mem=2G"}
    ended = submit(repository, tmp_path, "--dry-run", str(tiny_study), **plan)
    array, report = ended.stdout.splitlines()
    for option in (
        "--array=0-7%3 ",
        "--gpus-per-node=4 ",
        "--account=me ",
        "--mem=2G ",
        f"{tiny_study} --out {tmp_path}/out",
    ):
        assert option in array
    assert "--dependency=afterany:ARRAY " in report
    assert "--account=me " in report
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "variables", "why"),
    [
        ([], {}, "no STUDY.yaml"),
        (["x.yaml"], {}, "no file x.yaml"),
        (["STUDY"], {"GPT_TASKS": "0"}, "GPT_TASKS is '0', must be at least 1"),
        (["STUDY"], {"GPT_GPUS": "two"}, "GPT_GPUS is 'two', must be a whole number"),
        (["STUDY"], {"GPT_SETUP": "nowhere/setup.sh"}, "GPT_SETUP names no file"),
        (["STUDY"], {"GPT_TASKS": "9" * 20}, "GPT_TASKS is '9{20}', must be a whole number"),
        (["STUDY"], {"GPT_OUT": "a%u"}, ".*/a%u has a % or a comma in it, which Slurm does not take as it is"),
        (["STUDY"], {"GPT_OUT": "a,b"}, ".*/a,b has a % or a comma in it, which Slurm does not take as it is"),
    ],
)
def test_bad_use_is_refused_with_one_line(
    repository: Path, tiny_study: Path, tmp_path: Path, arguments: list[str], variables: dict[str, str], why: str
) -> None:
    words = [str(tiny_study) if word == "STUDY" else word for word in arguments]
    ended = submit(repository, tmp_path, *words, **variables)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(rf"slurm/submit\.sh: {why}; use: .*\n", ended.stderr), ended.stderr


def test_help_is_no_mistake(repository: Path, tmp_path: Path) -> None:
    ended = submit(repository, tmp_path, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("use: slurm/submit.sh ")
