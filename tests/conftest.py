"""Shared by all tests: one thread, an excerpt of the real text, and a run that finishes in a second."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from chaos import Chaos
from tally import Tally
from tiny import write_run, write_study

from gpt.commands.workspace import cache_folder
from gpt.config import RunConfig
from gpt.data.corpus import load_text
from gpt.run_file import read_run_file


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def excerpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 8,000 characters of Tiny Shakespeare, as a file."""
    text, _ = load_text("tiny_shakespeare", cache_folder())
    path = tmp_path_factory.mktemp("text") / "excerpt.txt"
    path.write_text(text[:8000], encoding="utf-8", newline="")
    return path


@pytest.fixture
def tiny_file(tmp_path: Path, excerpt: Path) -> Path:
    """A run file: two layers, 16 wide, 40 steps."""
    return write_run(tmp_path / "tiny.yaml", excerpt)


@pytest.fixture
def tiny(tiny_file: Path) -> RunConfig:
    """The run of `tiny_file`."""
    return read_run_file(tiny_file)


@pytest.fixture
def tiny_study(tmp_path: Path, tiny_file: Path) -> Path:
    """A study file: Pre-LN against Post-LN, three seeds of `tiny_file`."""
    return write_study(tmp_path / "study.yaml", tiny_file, seeds=3)


# What `make test` leaves to `make test-all`

SLOW = ("launch", "slurm", "browser", "wandb_server", "measure", "gpu")
"""kinds of tests"""


def pytest_itemcollected(item: pytest.Item) -> None:
    if any(item.get_closest_marker(kind) for kind in SLOW):
        item.add_marker(pytest.mark.slow)
    marker = item.get_closest_marker("fault")
    if marker and "faults" not in getattr(item, "fixturenames", ()):
        item.user_properties.append(("fault", marker.args[0]))


# Faults: tests marked fault(class) inject them; what became of all of them is written with --chaos FILE (make chaos)

BEGAN = time.monotonic()
CHAOS = Chaos()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos", metavar="FILE", help="write what became of the faults that these tests inject")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for marker in metafunc.definition.iter_markers("fault"):
        if marker.kwargs.get("sampled"):
            sample = pytest.param(False, id="sample", marks=pytest.mark.sample)
            whole = pytest.param(True, id="all", marks=pytest.mark.slow)
            metafunc.parametrize("faults", [sample, whole], indirect=True)


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Where a test marked `fault(name)` counts its faults."""
    tally = Tally(full=getattr(request, "param", True))
    yield tally
    (name,) = request.node.get_closest_marker("fault").args
    assert tally.injected, "a test of faults that injects none"
    request.node.user_properties.append(("faults", {"class": name, **tally.as_json()}))


@pytest.fixture
def saw(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """For a test that is one fault as a whole: keeps the largest of some values."""
    return lambda what, value: request.node.user_properties.append(("saw", [what, value]))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    CHAOS.take(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--chaos")
    if path and not hasattr(session.config, "workerinput"):  # the other processes report to this one
        CHAOS.write(Path(path), session.testsfailed, time.monotonic() - BEGAN)
