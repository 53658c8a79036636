"""The shell scripts of the repository, and its Makefile."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from needs import go_without


def scripts(repository: Path) -> list[Path]:
    found = [path for folder in ("slurm", "launch") for path in (repository / folder).iterdir()]
    return [*sorted(path for path in found if path.suffix in (".sh", ".sbatch")), repository / ".ci/run"]


def test_every_script_passes_shellcheck(repository: Path) -> None:
    if not shutil.which("shellcheck"):
        go_without("shellcheck", "apt-get install shellcheck")
    assert len(scripts(repository)) >= 6
    ended = subprocess.run(
        ["shellcheck", "--external-sources", *scripts(repository)], cwd=repository, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout


def test_every_script_parses(repository: Path) -> None:
    for path in scripts(repository):
        parsed = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
        assert parsed.returncode == 0, parsed.stderr


@pytest.mark.slow
def test_make_chaos_takes_a_file_that_was_written_before(repository: Path, tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text("{}\n")
    recipe = subprocess.run(
        ["make", "-n", "chaos", f"FAULTS={faults}"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout
    command = recipe[recipe.index("GPT_TEST_NEEDED=") : recipe.index(">&2")]
    command = command.replace(".venv/bin/python", sys.executable).replace("-n auto", "-n 0")
    ended = subprocess.run(
        ["bash", "-c", f"{command} --collect-only -q"], cwd=repository, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "tests/faults/test_kills.py" in ended.stdout
