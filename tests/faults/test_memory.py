"""Memory that runs out: the run that needs too much fails by name, the others do not notice."""

import re
import resource
from pathlib import Path

import pytest
from children import Say, in_child
from small import Small, make, plan, train
from tally import Tally

from gpt.runner.ranks.group import describe_error
from gpt.study.folder import run_at

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

NO_MEMORY = "can't allocate memory|MemoryError|Cannot allocate memory|memory ran out"


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Small:
    """Two small runs."""
    return make(tmp_path_factory.mktemp("neighbours"), excerpt, seeds=(0, 1))


def address_space() -> int:
    """Bytes that this process has in its address space."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


@pytest.mark.fault("out of memory", sampled=True)
def test_a_run_that_needs_too_much_memory_fails_alone(
    faults: Tally, neighbours: Small, excerpt: Path, tmp_path: Path
) -> None:
    # its attention alone has 512 * 8 * 128 * 128 * 4 bytes, 268 MB
    large = plan(excerpt, (0,), **{"model.context": 128, "model.attention": "explicit", "train.batch_size": 512,
                                   "model.heads": 8, "model.width": 32})  # fmt: skip
    first, second = neighbours.runs
    for megabytes in faults.some((40, 60, 80, 100, 120, 140, 160, 180), 1):
        out = tmp_path / str(megabytes)

        def work(_: Say, out: Path = out, megabytes: int = megabytes) -> None:
            limit = address_space() + megabytes * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            train((first, *large, second), out, lambda: False, together=False)

        with faults.one():
            assert in_child(work).status == 0
            status = run_at(out, large[0].fingerprint).read_status()
            assert status.state == "failed"
            assert re.search(NO_MEMORY, status.why), status.why
            for name, content in neighbours.whole.items():
                if name.startswith("runs/"):
                    assert (out / name).read_bytes() == content


def test_a_library_that_does_not_speak_of_memory_is_made_describe_error() -> None:
    assert re.search(NO_MEMORY, describe_error(RuntimeError("could not create a primitive")))
    assert describe_error(ValueError("x")) == "ValueError: x"
