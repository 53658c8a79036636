"""Who may import whom, and how fast the command answers."""

import ast
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

CONFIGURATION = {
    "config", "errors", "fields", "fingerprint", "plugins", "randomness", "read_file", "registry", "run_file",
    "yaml_file",
}  # fmt: skip
MAY_IMPORT = {
    "errors": set(),
    "randomness": set(),
    "read_file": {"errors"},
    "fields": {"errors"},
    "yaml_file": {"errors", "fields", "read_file"},
    "plugins": {"errors", "read_file", "registry", "yaml_file"},
    "config": {"fields", "plugins", "registry", "yaml_file"},
    "fingerprint": {"config", "fields"},
    "run_file": {"config", "errors", "fields", "plugins", "yaml_file"},
    "registry": {"errors", "yaml_file"},
    "data": CONFIGURATION | {"records"},
    "model": CONFIGURATION,
    "records": CONFIGURATION,
    "probes": {"config", "errors", "registry", "records", "model"},
    "train": CONFIGURATION | {"data", "model", "probes", "records"},
    "study": CONFIGURATION | {"records"},
    "analysis": CONFIGURATION | {"records", "study"},
    "report": CONFIGURATION | {"records", "study", "analysis"},
    "wandb_sync": CONFIGURATION | {"records", "study", "analysis"},
    "runner": CONFIGURATION | {"data", "model", "probes", "train", "records", "study", "analysis"},
}
MAY_IMPORT["bench"] = MAY_IMPORT["runner"] | {"runner", "commands"}
MAY_IMPORT["commands"] = set(MAY_IMPORT)
MAY_IMPORT["api"] = set(MAY_IMPORT)
LIGHT_ROOMS = (
    "errors",
    "randomness",
    "fields",
    "yaml_file",
    "config",
    "run_file",
    "records",
    "study",
    "analysis",
    "wandb_sync",
    "commands",
    "api",
)
HEAVY = {"torch", "wandb", "deepspeed", "accelerate", "scipy", "matplotlib", "plotly", "jinja2", "tqdm"}


def modules(repository: Path, room: str) -> list[Path]:
    place = repository / "gpt" / room
    return sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def imports(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module or "")
    return names


def at_top(tree: ast.Module) -> set[str]:
    return imports(ast.Module([n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))], []))


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_flows_into_it(repository: Path, room: str) -> None:
    for path in modules(repository, room):
        used = {name.split(".")[1] for name in imports(ast.parse(path.read_text())) if name.startswith("gpt.")}
        assert used <= MAY_IMPORT[room] | {room}, path


def test_the_table_of_rooms_is_the_package(repository: Path) -> None:
    there = {p.name for p in (repository / "gpt").iterdir() if p.is_dir() and p.name != "__pycache__"}
    there |= {p.stem for p in (repository / "gpt").glob("*.py")} - {"__init__", "__main__", "cli"}
    assert there == set(MAY_IMPORT)


@pytest.mark.parametrize("room", LIGHT_ROOMS)
def test_light_rooms_import_heavy_packages_only_where_they_use_them(repository: Path, room: str) -> None:
    for path in modules(repository, room):
        assert not {name.split(".")[0] for name in at_top(ast.parse(path.read_text()))} & HEAVY, path


def test_help_needs_less_than_half_a_second_of_processor_time() -> None:
    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = subprocess.run([sys.executable, "-m", "gpt", "--help"], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "study" in run.stdout
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert min(once() for _ in range(3)) < 0.5


def test_help_imports_no_heavy_package() -> None:
    code = (
        "import contextlib, sys, gpt.cli\n"
        "with contextlib.suppress(SystemExit): gpt.cli.main(['--help'])\n"
        "print('loaded:', *sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(run.stdout.split("loaded:")[1].split()) & HEAVY


def test_no_pickle_is_ever_loaded(repository: Path) -> None:
    for path in (repository / "gpt").rglob("*.py"):
        assert not re.search(r"torch\.load\b|import pickle|pickle\.load", path.read_text()), path
