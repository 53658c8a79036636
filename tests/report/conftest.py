"""The two studies of `reported`, built once for all of pytest's processes."""

import contextlib
import fcntl
import os

import pytest
from reported import Reported, write_clean, write_messy

from gpt.report.build import print_findings
from gpt.study.folder import StudyFolder


@pytest.fixture(scope="session")
def reported(tmp_path_factory):
    own = tmp_path_factory.getbasetemp()
    home = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    out, printed = home / "reported", home / "reported.txt"
    with (home / "reported.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            studies = [write_clean(out), write_messy(out)]
            with (home / "reported.part").open("w") as part, contextlib.redirect_stdout(part):
                print_findings(out, studies)
            (home / "reported.part").rename(printed)
    clean, messy = (StudyFolder(out, name) for name in ("clean", "messy"))
    return Reported(out, clean, messy, printed.read_text())
