"""Who descends from whom, and that the process which supervises a launch is a light one."""

import os
import signal
import subprocess

from commands import BIN

from gpt.runner.launch.process_tree import descendants, descends


def test_a_supervisor_is_light() -> None:
    code = "import sys, gpt.runner.launch.supervise; print({'torch', 'accelerate'} & set(sys.modules))"
    ended = subprocess.run([BIN / "python", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "set()\n", ended.stderr


def test_descendants_are_found_behind_dead_parents_and_in_other_sessions() -> None:
    script = (
        "import os, subprocess, sys\n"
        "from gpt.runner.launch.process_tree import adopt_orphans, descendants, kill_descendants\n"
        "adopt_orphans()\n"
        "child = subprocess.Popen(['sh', '-c', 'setsid sleep 60 & echo begun'], stdout=subprocess.PIPE)\n"
        "child.stdout.readline(), child.wait()\n"
        "(orphan,) = descendants(os.getpid())\n"
        "kill_descendants(os.getpid())\n"
        "print(os.waitpid(orphan, 0)[1], descendants(os.getpid()))\n"
    )
    ended = subprocess.run([BIN / "python", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == f"{signal.SIGKILL:d} []\n", ended.stderr


def test_a_process_descends_from_its_parents_parent_and_not_from_its_child() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        assert child.pid in descendants(os.getpid())
        assert descends(child.pid, os.getppid())
        assert not descends(os.getpid(), child.pid)
        child.kill()
