"""Runs for the fault suite, made once."""

from pathlib import Path

import pytest
from small import Small, make


@pytest.fixture(scope="session")
def one(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Small:
    """One small run."""
    return make(tmp_path_factory.mktemp("one"), excerpt)
