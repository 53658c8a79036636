"""Launches, read from what the real launchers leave behind (test_launchers.py starts them)."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gpt.cli import main
from gpt.errors import InputError
from gpt.runner.launch.accelerate import Launch, parent_command, read_launch
from gpt.train.engines.kinds import engine_kinds

BIN = Path(sys.executable).parent

FILES = ("one", "ddp", "zero1", "zero2", "zero3", "fsdp", "cpu", "two_machines")
"""shipped in launch/"""

AGENT = {
    "GROUP_RANK": "0",
    "GROUP_WORLD_SIZE": "1",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "48327",
    "OMP_NUM_THREADS": "1",
    "RANK": "1",
    "ROLE_NAME": "default",
    "ROLE_RANK": "1",
    "ROLE_WORLD_SIZE": "2",
    "TORCHELASTIC_MAX_RESTARTS": "0",
    "TORCHELASTIC_RESTART_COUNT": "0",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "WORLD_SIZE": "2",
}
"""rank 1 of `torchrun --nproc-per-node 2`"""
DYNAMO = {
    "ACCELERATE_DYNAMO_BACKEND": "NO",
    "ACCELERATE_DYNAMO_MODE": "default",
    "ACCELERATE_DYNAMO_USE_DYNAMIC": "False",
    "ACCELERATE_DYNAMO_USE_FULLGRAPH": "False",
    "ACCELERATE_DYNAMO_USE_REGIONAL_COMPILATION": "False",
    "ACCELERATE_MIXED_PRECISION": "no",
}
DDP = AGENT | DYNAMO
"""rank 1 of distributed_type MULTI_GPU with two processes"""
ZERO = AGENT | {
    "ACCELERATE_CONFIG_DS_FIELDS": "zero_stage,gradient_accumulation_steps,gradient_clipping,mixed_precision",
    "ACCELERATE_DEEPSPEED_ZERO3_INIT": "false",
    "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1",
    "ACCELERATE_GRADIENT_CLIPPING": "0.0",
    "ACCELERATE_MIXED_PRECISION": "no",
    "ACCELERATE_USE_DEEPSPEED": "true",
}
"""rank 1 of distributed_type DEEPSPEED with two processes"""
FSDP = DDP | {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_ACTIVATION_CHECKPOINTING": "false",
    "FSDP_OFFLOAD_PARAMS": "false",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_VERSION": "2",
}
"""rank 1 of distributed_type FSDP with two processes"""
ONE = DDP | {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
SIMPLE = DYNAMO | {"ACCELERATE_USE_CPU": "False", "OMP_NUM_THREADS": "1"}
"""the process of `accelerate launch --num_processes 1`"""
SIMPLE_CPU = SIMPLE | {
    "ACCELERATE_USE_CPU": "True",
    "KMP_AFFINITY": "granularity=fine,compact,1,0",
    "KMP_BLOCKTIME": "1",
}
LONE = SIMPLE_CPU | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
"""the one process of `accelerate launch --cpu --num_processes 2`, and of MULTI_CPU"""
PLACED = Launch(
    world=2,
    rank=1,
    local_rank=1,
    address="127.0.0.1",
    port=48327,
    agent_store=True,
    attempt=0,
    cpu=True,
    engine="ddp",
)


def accelerate(*options: str | Path) -> list[str]:
    """The command line of accelerate's launcher, as its child sees it."""
    return [
        sys.executable,
        str(BIN / "accelerate"),
        "launch",
        *map(str, options),
        "-m",
        "gpt",
        "study",
        "run",
        "x.yaml",
    ]


def test_a_process_that_no_launcher_started_works_alone() -> None:
    assert read_launch({}, ["bash"], 0) is None
    assert read_launch({}, [], 8) is None
    assert read_launch({"MASTER_ADDR": "n1", "MASTER_PORT": "29500", "OMP_NUM_THREADS": "4"}, ["bash"], 0) is None


def test_tasks_of_one_srun_work_alone() -> None:
    task = {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "7", "PMI_SIZE": "2"}
    assert read_launch(task, ["slurmstepd: [7.0]"], 1) is None


@pytest.mark.parametrize("name", ["OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "PMI_SIZE"])
def test_processes_of_mpirun_are_refused_unless_they_have_a_place(name: str) -> None:
    with pytest.raises(InputError, match=f"mpirun started 2 processes .{name}."):
        read_launch({name: "2"}, ["mpirun"], 0)
    assert read_launch({name: "1"}, ["mpirun"], 0) is None
    assert read_launch({name: "2"} | AGENT, ["mpirun"], 0) == PLACED


def test_a_rank_of_torchrun_has_its_place() -> None:
    assert (
        read_launch(AGENT, [sys.executable, str(BIN / "torchrun"), "--nproc-per-node", "2", "-m", "gpt"], 0) == PLACED
    )
    assert read_launch(AGENT, [], 2) == replace(PLACED, cpu=False)
    assert read_launch(AGENT | {"TORCHELASTIC_RESTART_COUNT": "3"}, [], 0) == replace(PLACED, attempt=3)


def test_a_rank_placed_by_hand_has_no_agents_store() -> None:
    by_hand = {name: AGENT[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")}
    assert read_launch(by_hand, ["bash"], 0) == replace(PLACED, agent_store=False)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_the_zero_stage_is_the_launchers(stage: int) -> None:
    environment = ZERO | {"ACCELERATE_DEEPSPEED_ZERO_STAGE": str(stage)}
    assert read_launch(environment, [], 0) == replace(PLACED, engine=f"zero{stage}")


def test_an_unset_zero_stage_is_the_one_that_accelerate_takes() -> None:
    unset = AGENT | {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_MIXED_PRECISION": "no"}
    assert read_launch(unset, [], 0) == replace(PLACED, engine="zero2")
    with pytest.raises(InputError, match="zero_stage must be 0, 1, 2 or 3"):
        read_launch(ZERO | {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "4"}, [], 0)


def test_fsdp_is_version_2_and_shards_all_that_it_can() -> None:
    assert read_launch(FSDP, [], 0) == replace(PLACED, engine="fsdp")
    for variable, value, why in (
        ("FSDP_VERSION", "1", "fsdp_version must be 2"),
        ("FSDP_OFFLOAD_PARAMS", "true", "fsdp_offload_params must be left out or false"),
        ("FSDP_RESHARD_AFTER_FORWARD", "false", "fsdp_reshard_after_forward must be true"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "true", "fsdp_activation_checkpointing must be left out or false"),
    ):
        with pytest.raises(InputError, match=f"the launch sets {variable}={value}; {why}"):
            read_launch(FSDP | {variable: value}, [], 0)


def test_a_launch_of_one_process_is_none_unless_deepspeed_is_its_engine(repository: Path) -> None:
    assert read_launch(ONE, accelerate("--config_file", repository / "launch/one.yaml"), 1) is None
    assert read_launch(SIMPLE, accelerate("--num_processes", "1"), 1) is None
    exported = {"MASTER_ADDR": "n1", "MASTER_PORT": "29500"}
    assert read_launch(SIMPLE | exported, accelerate("--num_processes", "1"), 1) is None
    launch = read_launch(ZERO | {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}, [], 1)
    assert launch == replace(PLACED, world=1, rank=0, local_rank=0, cpu=False, engine="zero2")


def test_one_process_is_not_moved_to_the_cpu_behind_its_back() -> None:
    assert read_launch(SIMPLE_CPU, accelerate("--cpu", "--num_processes", "1"), 0) is None
    with pytest.raises(InputError, match="give gpt --device cpu"):
        read_launch(SIMPLE_CPU, accelerate("--cpu", "--num_processes", "1"), 1)


@pytest.mark.parametrize(
    "launcher",
    [
        [str(BIN / "accelerate"), "launch"],
        [str(BIN / "accelerate-launch")],
        ["-m", "accelerate.commands.launch"],
        ["-m", "accelerate.commands.accelerate_cli", "launch"],
    ],
)
@pytest.mark.parametrize("number", [["--num_processes", "3"], ["--num-processes=3"]])
def test_one_process_started_in_place_of_three_is_refused(launcher: list[str], number: list[str]) -> None:
    command = [sys.executable, *launcher, "--cpu", *number, "-m", "gpt", "study", "run", "x.yaml"]
    with pytest.raises(InputError, match=r"asked for 3 processes but started one.*launch/cpu\.yaml"):
        read_launch(LONE, command, 0)


def test_one_process_started_in_place_of_several_is_refused_where_the_launcher_is_out_of_sight() -> None:
    for command in ([], ["bash", "-c", "gpt study run x.yaml; true"]):
        with pytest.raises(InputError, match="asked for several processes but started one"):
            read_launch(LONE, command, 0)


def test_processes_that_the_machines_do_not_divide_are_refused(repository: Path) -> None:
    command = accelerate("--config_file", repository / "launch/two_machines.yaml", "--num_processes", "3")
    with pytest.raises(InputError, match="asked for 3 processes but started 2"):
        read_launch(DDP, command, 0)


def test_more_ranks_than_gpus_are_refused_unless_they_compute_on_the_cpu(repository: Path) -> None:
    with pytest.raises(InputError, match="rank 1 is number 1 on its machine, counted from 0, and sees 1 GPU;"):
        read_launch(DDP, accelerate("--config_file", repository / "launch/ddp.yaml"), 1)
    assert read_launch(DDP | {"ACCELERATE_USE_CPU": "true"}, [], 1) == PLACED
    assert read_launch(DDP, accelerate("--config_file", repository / "launch/cpu.yaml"), 1) == PLACED


def test_deepspeed_with_use_cpu_is_refused(repository: Path, tmp_path: Path) -> None:
    zero2 = repository / "launch/zero2.yaml"
    with_cpu = tmp_path / "zero2.yaml"
    with_cpu.write_text(zero2.read_text().replace("use_cpu: false", "use_cpu: true"))
    for environment, command in (
        (ZERO | {"ACCELERATE_USE_CPU": "true"}, accelerate("--config_file", zero2)),  # accelerate would train by DDP
        (ZERO, accelerate("--config_file", with_cpu)),  # accelerate passes nothing on
        (
            SIMPLE_CPU,
            accelerate("--cpu", "--config_file", zero2, "--num_processes", "1"),
        ),  # nothing of DeepSpeed either
    ):
        with pytest.raises(InputError, match="asks for DEEPSPEED and for the CPU"):
            read_launch(environment, command, 0)


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("ACCELERATE_USE_MEGATRON_LM", "true", "Megatron-LM is not supported"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "true", "parallelism_config is not supported"),
        ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR", "dynamo_backend must be 'NO'"),
        ("ACCELERATE_MIXED_PRECISION", "bf16", "train.precision decides"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4", "train.micro_batch_size decides"),
        ("ACCELERATE_GRADIENT_CLIPPING", "1.0", "optim.clip decides"),
        ("ACCELERATE_DEEPSPEED_CONFIG_FILE", "ds.json", "deepspeed_config_file is not read"),
        ("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "cpu", "offload_optimizer_device must be left out"),
        ("ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE", "nvme", "offload_param_device must be left out"),
    ],
)
def test_what_a_launch_may_not_decide_is_refused(variable: str, value: str, why: str) -> None:
    for environment in (DDP, ZERO, SIMPLE):
        with pytest.raises(InputError, match=f"the launch sets {variable}={value}; .*{why}"):
            read_launch(environment | {variable: value}, [], 0)


def test_options_that_accelerate_forgets_are_refused(repository: Path) -> None:
    ddp = repository / "launch/ddp.yaml"
    for option, value in (("--gradient_accumulation_steps", "4"), ("--gradient_clipping", "0.5")):
        with pytest.raises(InputError, match=f"{option[2:].upper()}={value}; .* decides"):
            read_launch(DDP, accelerate("--config_file", ddp, option, value), 0)


def test_settings_that_ask_for_nothing_are_harmless() -> None:
    nothing = {
        "ACCELERATE_USE_FSDP": "false",
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "auto",
        "ACCELERATE_GRADIENT_CLIPPING": "auto",
        "ACCELERATE_DEEPSPEED_CONFIG_FILE": "none",
        "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "none",
    }
    assert read_launch(ZERO | nothing, [], 0) == replace(PLACED, engine="zero2")


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_a_place_with_a_part_missing_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"but not {name}, all are needed"):
        read_launch({key: value for key, value in AGENT.items() if key != name}, [], 0)
    with pytest.raises(InputError, match=f"but not {name}, all are needed"):
        read_launch(AGENT | {name: ""}, [], 0)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("RANK", "one", "RANK is 'one', must be a whole number"),
        ("RANK", "-1", "RANK is '-1', must be a whole number"),
        ("WORLD_SIZE", "2.0", "WORLD_SIZE is '2.0', must be a whole number"),
        ("WORLD_SIZE", "9" * 5000, "WORLD_SIZE is '99999999999999999999', must be a whole number"),
        ("LOCAL_RANK", "x", "LOCAL_RANK is 'x', must be a whole number"),
        ("MASTER_PORT", "http", "MASTER_PORT is 'http', must be a whole number"),
        ("MASTER_PORT", "0", "MASTER_PORT is 0, must be from 1 to 65535"),
        ("WORLD_SIZE", "1", "RANK is 1 and WORLD_SIZE 1; RANK must be smaller"),
        ("WORLD_SIZE", "0", "RANK is 1 and WORLD_SIZE 0; RANK must be smaller"),
    ],
)
def test_a_place_that_cannot_be_is_refused(name: str, value: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        read_launch(AGENT | {name: value}, [], 0)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="this system has no /proc")
def test_the_parents_command_is_read_and_torch_is_not_imported() -> None:
    code = "import json, sys\nfrom gpt.runner.launch.accelerate import parent_command\n"
    code += "print(json.dumps(parent_command()), 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    own = Path("/proc/self/cmdline").read_bytes().decode().split("\0")[:-1]
    assert said.strip() == f"{json.dumps(own)} False"
    assert parent_command() != own


# Words


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "the following arguments are required: LAUNCH.yaml"),
        (["none.yaml", "train", "x.yaml"], "none.yaml: no such file; LAUNCH.yaml comes first"),
        (["FILE"], "nothing to start after FILE, must be gpt's own train or study ..."),
        (["FILE", "check-gradients"], "nothing to start after FILE, must be gpt's own train or study ..."),
        (["FILE", "-n", "0", "train", "x.yaml"], "-n: got 0, must be at least 1"),
        (["FILE", "-n", "2x", "train", "x.yaml"], "argument -n: got '2x', must be a whole number"),
        (["FILE", "-n", "train", "x.yaml"], "argument -n: expected one argument"),
        (["--grace", "0", "FILE", "train", "x.yaml"], "--grace: got 0, must be more than 0 seconds"),
        (["--grace", "nan", "FILE", "train", "x.yaml"], "--grace: got nan, must be more than 0 seconds"),
        (["FILE", "study", "run"], "the following arguments are required: STUDY.yaml"),
        (["FILE", "study", "run", "x.yaml", "--y"], "unknown argument --y"),
    ],
)
def test_bad_words_are_refused_with_one_line_before_anything_starts(
    capsys: pytest.CaptureFixture[str], repository: Path, words: list[str], why: str
) -> None:
    file = str(repository / "launch/cpu.yaml")
    with pytest.raises(SystemExit) as ended:
        main(["launch", *(file if word == "FILE" else word for word in words)])
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1), said
    assert why.replace("FILE", file) in said


# Files


def test_all_shipped_files_set_the_same_fields(repository: Path) -> None:
    assert {path.stem for path in (repository / "launch").glob("*.yaml")} == set(FILES)
    files = {name: YAML(typ="safe", pure=True).load(repository / f"launch/{name}.yaml") for name in FILES}
    assert set(engine_kinds()) <= {*FILES, "zero0"}, "but for the stage that shares out nothing"
    for name in FILES:
        kind = engine_kinds().get(name, engine_kinds()["ddp"])
        fields = files[name].keys() - kind.fields.keys() - {"main_process_ip"}
        assert fields == files["one"].keys(), name
        assert files[name]["distributed_type"] == kind.distributed_type
        for section, content in kind.fields.items():
            assert content.items() <= files[name][section].items(), name
        text = (repository / f"launch/{name}.yaml").read_text()
        assert text.startswith("# ")
        assert f"gpt launch launch/{name}.yaml " in text, "a file opens with its command"
