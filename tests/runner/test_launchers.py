"""Every shipped launch file, and every launch that trains something else, with the real launchers."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from commands import BIN, TOLD

from gpt.train.engines.kinds import engine_kinds

pytestmark = pytest.mark.launch

READ = """\
import dataclasses, json, os, sys, time
from gpt.errors import InputError
from gpt.runner.launch.accelerate import parent_command, read_launch
def say(text):  # in one write, so that two ranks' lines do not mix
    sys.stdout.write(text + "\\n")
    sys.stdout.flush()
try:
    launch = read_launch(os.environ, parent_command(), gpus=0)
except InputError as error:
    say(f"refused: {error}")
    sys.exit(2)
say(f"launch: {json.dumps(launch and dataclasses.asdict(launch))}")
"""
JOIN = """
import torch
import torch.distributed as dist
hosts = launch.rank == 0 and not launch.agent_store
store = dist.TCPStore(launch.address, launch.port, is_master=hosts)
dist.init_process_group("gloo", store=dist.PrefixStore("test", store), rank=launch.rank, world_size=launch.world)
sum = torch.tensor([1 + launch.rank])
dist.all_reduce(sum)
say(f"sum: {sum.item()}")
dist.destroy_process_group()
"""
USERS_CONFIG = "{distributed_type: FSDP, mixed_precision: bf16, num_processes: 3, num_machines: 1, use_cpu: false}"


@pytest.fixture
def started(tmp_path: Path) -> "Started":
    return Started(tmp_path)


class Started:
    """Starts the real launchers in a folder of their own, without what this process was told by a launcher."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(TOLD)}
        self.environment |= {"HOME": str(folder), "HF_HOME": str(folder), "PATH": f"{BIN}:{os.environ['PATH']}"}
        self.users_config(USERS_CONFIG)

    def users_config(self, text: str) -> None:
        """Write the config that accelerate takes where no --config_file is given."""
        path = self.folder / "accelerate/default_config.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def config(self, text: str) -> Path:
        path = self.folder / "config.yaml"
        path.write_text(text)
        return path

    def start(self, command: Sequence[str | Path], script: str, **variables: str) -> subprocess.Popen[str]:
        """A launcher that runs a script, its two streams joined."""
        path = self.folder / "script.py"
        path.write_text(script)
        return subprocess.Popen(
            [*command, path],
            cwd=self.folder,
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: Sequence[str | Path], script: str = READ, **variables: str) -> tuple[int, list[str]]:
        """Exit code and lines of a launcher that runs a script."""
        return finish(self.start(command, script, **variables))


def finish(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Exit code and lines of a launcher, which is ended with all of its ranks if it does not end."""
    try:
        said, _ = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, said.splitlines()


def launches(lines: Sequence[str]) -> list[dict[str, Any]]:
    """What the ranks read, in the order of the ranks."""
    read = [json.loads(line.removeprefix("launch: ")) for line in lines if line.startswith("launch: ")]
    return sorted(read, key=lambda launch: launch["rank"])


def check_world(lines: Sequence[str], engine: str) -> None:
    first, second = launches(lines)
    expected = {"world": 2, "agent_store": True, "attempt": 0, "cpu": True, "engine": engine}
    assert {name: first[name] for name in expected} == expected
    assert second == first | {"rank": 1, "local_rank": second["local_rank"]}
    assert [line for line in lines if line.startswith("sum: ")] == ["sum: 3"] * 2, "each rank adds 1 + its number"


@pytest.mark.parametrize("name", ["one", "ddp", "zero1", "zero2", "zero3", "fsdp", "cpu"])
def test_two_ranks_of_a_shipped_file_form_one_world(started: Started, repository: Path, name: str) -> None:
    file = repository / f"launch/{name}.yaml"
    code, lines = started.run(["accelerate", "launch", "--config_file", file, "--num_processes", "2"], READ + JOIN)
    assert code == 0, "\n".join(lines)
    check_world(lines, name if name in engine_kinds() else "ddp")
    assert [launch["local_rank"] for launch in launches(lines)] == [0, 1]


def test_two_machines_form_one_world(started: Started, repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    command: list[str | Path] = ["accelerate", "launch", "--config_file", repository / "launch/two_machines.yaml"]
    command += ["--main_process_ip", "127.0.0.1", "--main_process_port", port]
    machines = [started.start([*command, "--machine_rank", rank], READ + JOIN) for rank in "01"]
    ends = [finish(machine) for machine in machines]
    lines = [line for _, said in ends for line in said]
    assert [code for code, _ in ends] == [0, 0], "\n".join(lines)
    check_world(lines, "ddp")
    assert [launch["local_rank"] for launch in launches(lines)] == [0, 0]


def test_torchrun_counts_its_attempts(started: Started) -> None:
    fail_once = READ + "sys.exit(launch.attempt == 0)\n"
    code, lines = started.run(["torchrun", "--nproc-per-node", "2", "--max-restarts", "1"], fail_once)
    assert code == 0, "\n".join(lines)
    last = [launch for launch in launches(lines) if launch["attempt"] == 1]
    assert [(launch["world"], launch["rank"], launch["agent_store"]) for launch in last] == [(2, 0, True), (2, 1, True)]


def test_one_process_works_alone_and_is_told_when_to_stop(started: Started, repository: Path) -> None:
    listen = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(print('told', flush=True)))\n"
    command: list[str | Path] = ["accelerate", "launch", "--config_file", repository / "launch/one.yaml"]
    process = started.start(command, listen + READ + "time.sleep(60)\n")
    assert process.stdout is not None
    while (line := process.stdout.readline()) and not line.startswith("launch: "):
        pass
    process.send_signal(signal.SIGTERM)
    _, lines = finish(process)
    assert line == "launch: null\n"
    assert "told" in lines


ONE_MACHINE = "mixed_precision: 'no'\nnum_machines: 1\nnum_processes: 2\nmain_process_port: 0\n"
FLAGS = ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
ZERO_2 = "distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 2, zero3_init_flag: false}\n"
MULTI_GPU = "distributed_type: MULTI_GPU\n"
ALONE = "asked for 2 processes but started one"
TWO_ENGINES = "asks for DEEPSPEED and for the CPU"
TRAPS: dict[str, tuple[list[str], str | None, str]] = {
    "--cpu": (["--cpu", *FLAGS], None, ALONE),
    "MULTI_CPU": ([], "distributed_type: MULTI_CPU\nuse_cpu: true\n", ALONE),
    "NO": ([], "distributed_type: 'NO'\n", ALONE),
    "DEEPSPEED, use_cpu": ([], ZERO_2 + "use_cpu: true\n", TWO_ENGINES),
    "DEEPSPEED, --cpu": (["--cpu", "--num_processes", "1"], ZERO_2, TWO_ENGINES),
    "DEEPSPEED that clips": (["--gradient_clipping", "1.0"], ZERO_2, "GRADIENT_CLIPPING=1.0; .*optim.clip decides"),
    "DEEPSPEED that accumulates": (
        ["--gradient_accumulation_steps", "4"],
        ZERO_2,
        "STEPS=4; .*micro_batch_size decides",
    ),
    "DDP told to accumulate": (
        ["--gradient_accumulation_steps", "4"],
        MULTI_GPU,
        "STEPS=4; .*micro_batch_size decides",
    ),
    "bf16": (["--mixed_precision", "bf16"], MULTI_GPU, "MIXED_PRECISION=bf16; .*train.precision decides"),
    "INDUCTOR": ([], MULTI_GPU + "dynamo_backend: INDUCTOR\n", "DYNAMO_BACKEND=INDUCTOR; dynamo_backend must be 'NO'"),
    "FSDP, version 1": ([], "distributed_type: FSDP\nfsdp_config: {fsdp_version: 1}\n", "fsdp_version must be 2"),
    "FSDP, use_cpu": (
        [],
        "distributed_type: FSDP\nfsdp_config: {fsdp_version: 2}\nuse_cpu: true\n",
        "FSDP and for the CPU",
    ),
    "MEGATRON_LM": ([], "distributed_type: MEGATRON_LM\n", "Megatron-LM is not supported"),
    "tensor parallel": (
        [],
        "distributed_type: FSDP\nfsdp_config: {fsdp_version: 2}\nparallelism_config: {parallelism_config_tp_size: 2}\n",
        "parallelism_config is not supported",
    ),
}
"""options, config file and what is said; each of these exits 0 when the script does not look"""


@pytest.mark.parametrize("trap", TRAPS)
def test_a_launch_that_trains_something_else_is_refused(started: Started, trap: str) -> None:
    options, config, why = TRAPS[trap]
    file: list[str | Path] = ["--config_file", started.config(ONE_MACHINE + config)] if config else []
    check_refused(started.run(["accelerate", "launch", *file, *options]), why)


def check_refused(end: tuple[int, list[str]], why: str) -> None:
    code, lines = end
    refused = [line for line in lines if line.startswith("refused: ")]
    assert code != 0
    assert not launches(lines)
    assert refused, "\n".join(lines)
    assert all(re.search(why, line) for line in refused), refused


def test_a_variable_that_turns_deepspeed_into_ddp_is_refused(started: Started, repository: Path) -> None:
    command: list[str | Path] = ["accelerate", "launch", "--config_file", repository / "launch/zero2.yaml"]
    check_refused(started.run(command, ACCELERATE_USE_CPU="true"), TWO_ENGINES)


def test_a_users_own_config_is_looked_at_where_accelerate_takes_it(started: Started) -> None:
    started.users_config("{distributed_type: 'NO', num_processes: 2, num_machines: 1, mixed_precision: 'no'}")
    check_refused(started.run(["accelerate", "launch"]), ALONE)


def test_a_shell_between_accelerate_and_gpt_hides_nothing(started: Started) -> None:
    command = ["accelerate", "launch", "--cpu", *FLAGS, "--no_python", "sh", "-c", '"$0" "$1"; exit $?', sys.executable]
    check_refused(started.run(command), "asked for several processes but started one")
