"""A cluster for the tests of this folder, and a queue that each of them finds and leaves empty."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import NODES, Cluster, missing
from needs import go_without


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Four nodes with two fake GPUs each; where there can be none the tests are skipped, or fail if they are needed."""
    if why := missing():
        go_without("slurm", why)
    running = Cluster(Path(tempfile.mkdtemp(prefix="slurm-")))
    try:
        yield running
    finally:
        running.down()


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> dict[str, str]:
    """What a user of the shipped scripts exports: this environment, and the CPU in place of fake GPUs."""
    setup = tmp_path_factory.mktemp("slurm") / "setup.sh"
    setup.write_text(f'export PATH="{Path(sys.executable).parent}:$PATH" PYTHONPATH="{repository}"\n')
    return {"GPT_HOME": str(repository), "GPT_SETUP": str(setup), "GPT_DEVICE": "cpu"}


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster; afterwards no job is left on it and all of its nodes are up."""
    yield cluster
    cluster.cancel_everything()
    for node in NODES:
        cluster.restart_if_killed(node)
