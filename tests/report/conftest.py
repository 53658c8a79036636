"""The two studies of `reported`, built once."""

import contextlib
import io

import pytest
from reported import Reported, write_clean, write_messy

from gpt.report.build import print_findings


@pytest.fixture(scope="session")
def reported(tmp_path_factory):
    out = tmp_path_factory.mktemp("reported") / "out"
    clean, messy = write_clean(out), write_messy(out)
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        print_findings(out, [clean, messy])
    return Reported(out, clean, messy, stream.getvalue())
