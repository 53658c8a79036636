"""The shell scripts of the repository."""

import shutil
import subprocess
from pathlib import Path

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
