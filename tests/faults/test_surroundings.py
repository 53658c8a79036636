"""A strange clock, locale, time zone or umask: the same files to the last bit, and a run begun there goes on here."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from commands import GPT, records, runs_of, started
from small import Small
from tally import Tally
from tiny import SMALLEST, write_run

STRANGE: dict[str, list[str]] = {
    "a Turkish locale": ["env", "LC_ALL=tr_TR.UTF-8", "LANG=tr_TR.UTF-8"],
    "no UTF-8": ["env", "LC_ALL=C", "PYTHONUTF8=0", "PYTHONCOERCECLOCALE=0", "PYTHONIOENCODING=ascii"],
    "a time zone of +14 hours": ["env", "TZ=Pacific/Kiritimati"],
    "a time zone that is none": ["env", "TZ=:/nowhere"],
    "no environment but PATH": ["env", "-i", f"PATH={os.environ['PATH']}", f"PYTHONPATH={Path(__file__).parents[2]}"],
    "a tight umask": ["sh", "-c", 'umask 077; exec "$@"', "sh"],
    "other hash seeds": ["env", "PYTHONHASHSEED=4242"],
    "an optimising interpreter": ["env", "PYTHONOPTIMIZE=1"],
    "a clock that runs backwards": ["CLOCK"],
    "years of uptime": ["unshare", "--time", "--monotonic", "300000000", "--boottime", "300000000", "--fork"],
}
CLOCK = """\
import itertools, time
now, ticks = time.time, itertools.count()
time.time = lambda: now() - 3600.0 * next(ticks)
"""
"""A sitecustomize.py under which every look at the wall clock shows an hour less than the one before"""


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "run.yaml", excerpt, SMALLEST)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory, run_file: Path) -> dict[str, bytes]:
    """What the run leaves where nothing is strange."""
    folder = tmp_path_factory.mktemp("usual")
    with started([*GPT, "train", run_file, "--out", folder / "out"], folder) as command:
        assert command.wait() == 0, command.said
    return records(folder / "out")


def words(what: str, folder: Path) -> list[str]:
    if STRANGE[what] != ["CLOCK"]:
        return STRANGE[what]
    (folder / "sitecustomize.py").write_text(CLOCK)
    return ["env", f"PYTHONPATH={folder}:{Path(__file__).parents[2]}"]


@pytest.mark.fault("a strange clock, locale, time zone, umask or environment")
@pytest.mark.slow
@pytest.mark.parametrize("what", STRANGE)
def test_strange_surroundings_change_no_bit(run_file: Path, usual: dict[str, bytes], tmp_path: Path, what: str) -> None:
    around = words(what, tmp_path)
    if around[0] == "unshare" and subprocess.run([*around, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no time namespaces here")
    with started([*around, *GPT, "train", run_file, "--out", tmp_path / "out"], tmp_path) as command:
        assert command.wait() == 0, command.said
    assert records(tmp_path / "out") == usual
    assert runs_of(tmp_path / "out")[0].read_status().seconds >= 0


@pytest.mark.fault("files dated in the future or in 1970")
@pytest.mark.parametrize("date", [0, 2**33])
def test_dates_of_files_mean_nothing(faults: Tally, one: Small, tmp_path: Path, date: int) -> None:
    one.train_until(tmp_path / "out", 9)
    for path in (tmp_path / "out").rglob("*"):
        os.utime(path, (date, date))
    with faults.one():
        one.train(tmp_path / "out")
        one.check(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
