"""The fault suite: by default a sample of every class of fault, with `--chaos FILE` (`make chaos`) all of them."""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small import Small, make
from tally import Tally, merged

TALLIES: dict[str, list[dict[str, Any]]] = defaultdict(list)
"""of this process, which collects those of all its workers"""
BEGAN = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos", metavar="FILE", help="inject every fault and write what became of them to a JSON file")


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Where a test marked `fault(name)` counts its faults."""
    tally = Tally(full=bool(request.config.getoption("--chaos", default=None)))
    yield tally
    (name,) = request.node.get_closest_marker("fault").args
    assert tally.injected, "a test of faults that injects none"
    request.node.user_properties.append(("faults", {"class": name, **tally.as_json()}))


@pytest.fixture
def saw(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """For a test that is one fault as a whole: keeps the largest of some values."""
    return lambda what, value: request.node.user_properties.append(("saw", [what, value]))


def pytest_itemcollected(item: pytest.Item) -> None:
    marker = item.get_closest_marker("fault")
    if marker and "faults" not in getattr(item, "fixturenames", ()):
        item.user_properties.append(("fault", marker.args[0]))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    said = dict(report.user_properties)
    if report.when == "teardown" and "faults" in said:
        TALLIES[said["faults"]["class"]].append(said["faults"])
    if report.when == "call" and "fault" in said and not report.skipped:
        tally = Tally(full=True)
        tally.injected, tally.survived = 1, int(report.passed)
        for key, value in report.user_properties:
            if key == "saw":
                tally.saw(*value)
        TALLIES[said["fault"]].append(tally.as_json())


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    path = session.config.getoption("--chaos", default=None)
    if not path or hasattr(session.config, "workerinput"):
        return
    from gpt.runner.stack import describe_hardware, describe_stack

    torch.set_num_threads(1)
    classes = {name: merged(TALLIES[name]) for name in sorted(TALLIES)}
    total = merged(list(classes.values()))
    written = {
        "total": total,
        "tests failed": session.testsfailed,
        "seconds": round(time.monotonic() - BEGAN),
        "classes": classes,
        "stack": describe_stack(torch.device("cpu")),
        "hardware": describe_hardware(torch.device("cpu")),
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(written, indent=2) + "\n")
    print(f"\nfaults: {total['survived']} of {total['injected']} survived", file=sys.stderr)


@pytest.fixture(scope="session")
def one(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Small:
    """One small cell."""
    return make(tmp_path_factory.mktemp("one"), excerpt)


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Small:
    """Three seeds of the small cell."""
    return make(tmp_path_factory.mktemp("three"), excerpt, seeds=(0, 1, 2))
