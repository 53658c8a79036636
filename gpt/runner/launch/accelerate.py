"""Where a launcher placed this process, and every way in which it started something else than what was asked for.

`accelerate launch` starts one process instead of several, or another engine, silently and with exit code 0. What
it was asked for is on its own command line, what it did is in the environment; a launch whose two halves differ, or
which decides what the run file decides, is refused before anything is trained. Source: accelerate.commands.launch and
accelerate.utils.launch, whose launchers `simple`, `multi_gpu` and `deepspeed` write the variables read here.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpt.errors import InputError
from gpt.train.engines.kinds import DEFAULT, OFF, Setting, engine_kinds, is_on

START = "start it with gpt launch launch/ddp.yaml (on CPUs launch/cpu.yaml), or with torchrun"

SETTINGS: tuple[Setting, ...] = (
    ("ACCELERATE_USE_PARALLELISM_CONFIG", OFF, "parallelism_config is not supported: use a file of launch/"),
    ("ACCELERATE_USE_MEGATRON_LM", OFF, "Megatron-LM is not supported: use a file of launch/"),
    (
        "ACCELERATE_DYNAMO_BACKEND",
        {"no"},
        "dynamo_backend must be 'NO': compiling the model is not supported",
    ),
    (
        "ACCELERATE_MIXED_PRECISION",
        {"no"},
        "mixed_precision must be 'no': the run file's train.precision decides",
    ),
    (
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS",
        {"1", "auto"},
        "gradient_accumulation_steps must be left out or 1: the run file's train.micro_batch_size decides",
    ),
    (
        "ACCELERATE_GRADIENT_CLIPPING",
        {"0", "0.0", "auto", "none"},
        "gradient_clipping must be left out or 0.0: the run file's optim.clip decides",
    ),
)
"""of any launch; those of one engine's are in its file"""

PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
LONGEST_NUMBER = 9
"""digits of a launcher's number"""
MPI_SIZES = ("OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "PMI_SIZE")


@dataclass(frozen=True)
class Launch:
    """The place of this process among those that one launcher started."""

    world: int
    """processes in all"""
    rank: int
    local_rank: int
    """number on this machine, which is the number of its GPU"""
    address: str
    port: int
    """where the store is"""
    agent_store: bool
    """whether the launcher hosts the store; else rank 0 does"""
    attempt: int
    """how often the launcher has started its processes again; what earlier attempts wrote is still in its store"""
    cpu: bool
    """whether the ranks compute on the CPU, because the launch asks for it or there is no GPU"""
    engine: str
    """a key of `engine_kinds`"""


@dataclass(frozen=True)
class LaunchRequest:
    """What the command line of `accelerate launch` and its config file ask for."""

    processes: int | None = None
    """over all machines; 0: one for each GPU; None: not known, as the parent is not accelerate"""
    cpu: bool = False
    distributed_type: str | None = None
    """accelerate's word for the engine, where one is asked for in particular"""
    settings: dict[str, str] = field(default_factory=dict)
    """options that accelerate passes on to one engine only and otherwise forgets, named like the variables"""


def parent_command() -> list[str]:
    """The command line of the process that started this one; empty where the system has no /proc."""
    try:
        words = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []
    return [os.fsdecode(word) for word in words]


def read_launch(environment: Mapping[str, str], command: Sequence[str], gpus: int) -> Launch | None:
    """The place that a launcher gave this process, or None for a process that works alone.

    `command` is the parent's command line, `gpus` the number of GPUs that this process sees. A launch of one process
    that asks for no engine in particular is no launch. Several tasks of one `srun` work alone too: they share runs by
    leases.
    Raises InputError where what was started differs from what was asked for, or from what gpt supports.
    """
    kinds = engine_kinds()
    _refuse_settings(environment)
    asked = _launch_request(command)
    _refuse_settings(asked.settings)
    cpu = asked.cpu or is_on(environment, "ACCELERATE_USE_CPU")
    kind = next((kind for kind in kinds.values() if kind.asked_for(environment)), kinds[DEFAULT])
    for either in (kind, *(other for other in kinds.values() if other.distributed_type == asked.distributed_type)):
        if cpu and not either.may_use_cpu:
            raise InputError(
                f"the launch asks for {either.distributed_type} and for the CPU (--cpu, use_cpu or "
                "ACCELERATE_USE_CPU), of which accelerate drops one silently; leave the CPU away and hide the GPUs "
                "(CUDA_VISIBLE_DEVICES=), or use launch/cpu.yaml"
            )
    if not any(name in environment for name in PLACE[:3]):
        _refuse_one_of_several(environment, asked)
    else:
        launch = _place(environment, cpu or gpus == 0, kind.name)
        if asked.processes and asked.processes != launch.world:
            raise InputError(
                f"accelerate launch was asked for {asked.processes} processes but started {launch.world}; "
                "num_processes counts those of all machines and must be a multiple of num_machines"
            )
        if not launch.cpu and launch.local_rank >= gpus:
            raise InputError(
                f"rank {launch.rank} is number {launch.local_rank} on its machine, counted from 0, and sees {gpus} "
                f"GPU{'s'[: gpus > 1]}; start at most one process for each GPU, or use launch/cpu.yaml for the CPU"
            )
        if launch.world > 1 or kind.name != DEFAULT:
            return launch
    if cpu and gpus:
        raise InputError(
            "the launch asks one process, which sees a GPU, to compute on the CPU (--cpu, use_cpu or "
            "ACCELERATE_USE_CPU); leave that away and give gpt --device cpu"
        )
    return None


def _launch_request(command: Sequence[str]) -> LaunchRequest:
    """What was asked of `accelerate launch`, read by its own parser as it reads it."""
    arguments = _launcher_arguments(command)
    if arguments is None:
        return LaunchRequest()
    from accelerate.commands.config.config_args import default_config_file, load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    given = launch_command_parser().parse_args(arguments)
    settings = {
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": given.gradient_accumulation_steps,
        "ACCELERATE_GRADIENT_CLIPPING": given.gradient_clipping,
    }
    settings = {name: str(value) for name, value in settings.items() if value is not None}
    processes, machines, cpu = given.num_processes, given.num_machines, given.cpu
    flags = {"MULTI_GPU": given.multi_gpu, "DEEPSPEED": given.use_deepspeed, "FSDP": given.use_fsdp,
             "MEGATRON_LM": given.use_megatron_lm, "TPU": given.tpu}  # fmt: skip
    kind = next((kind for kind, is_given in flags.items() if is_given), None)
    if given.config_file is not None or (Path(default_config_file).is_file() and not given.cpu):
        file = load_config_from_file(given.config_file)
        processes = file.num_processes if processes is None else processes
        machines = file.num_machines if machines is None else machines
        kind = kind or str(getattr(file.distributed_type, "value", file.distributed_type))
        cpu = cpu or file.use_cpu
    return LaunchRequest(max(processes, machines or 1) if processes else 0, cpu, kind, settings)


def _launcher_arguments(command: Sequence[str]) -> Sequence[str] | None:
    """The arguments of `accelerate launch`, `accelerate-launch` or `python -m accelerate.commands.launch`."""
    for index, word in enumerate(command):
        name = Path(word).name
        if name == "accelerate-launch" or word == "accelerate.commands.launch":
            return command[index + 1 :]
        if name == "accelerate" or word == "accelerate.commands.accelerate_cli":
            return command[index + 2 :] if command[index + 1 : index + 2] == ["launch"] else None
    return None


def _refuse_settings(settings: Mapping[str, str]) -> None:
    for variable, harmless, advice in (*SETTINGS, *(s for kind in engine_kinds().values() for s in kind.settings)):
        value = settings.get(variable)
        if value is not None and value.lower() not in harmless:
            raise InputError(f"the launch sets {variable}={value}; {advice}")


def _refuse_one_of_several(environment: Mapping[str, str], asked: LaunchRequest) -> None:
    """Refuse a process without a place whose launcher was asked for more than one."""
    several: int | str = asked.processes or 1
    if asked.processes is None and {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= environment.keys():
        several = "several"  # the parent is a shell that accelerate started, or cannot be seen: these are its marks
    if several != 1:
        raise InputError(
            f"accelerate launch was asked for {several} processes but started one, as it does for --cpu and for every "
            f"distributed_type but {_listed_types()}, MULTI_CPU too; {START}"
        )
    for name in MPI_SIZES:
        size = environment.get(name, "")
        if name == "PMI_SIZE" and "SLURM_PROCID" in environment:
            continue  # srun sets it too, and its tasks may work alone
        # srun users ask for tasks, mpirun users for one job: as independent processes they would each use all cores
        if size.isdecimal() and size.lstrip("0") not in ("", "1"):
            raise InputError(f"mpirun started {size} processes ({name}), which gpt cannot join to one world; {START}")


def _place(environment: Mapping[str, str], cpu: bool, engine: str) -> Launch:
    missing = [name for name in PLACE if not environment.get(name)]
    if missing:
        there = ", ".join(name for name in PLACE if environment.get(name)) or "empty variables"
        raise InputError(f"the launcher set {there} but not {', '.join(missing)}, all are needed; {START}")
    world, rank, port = (_number(environment, name) for name in ("WORLD_SIZE", "RANK", "MASTER_PORT"))
    local_rank, attempt = _number(environment, "LOCAL_RANK"), _number(environment, "TORCHELASTIC_RESTART_COUNT")
    if not rank < world:
        raise InputError(f"RANK is {rank} and WORLD_SIZE {world}; RANK must be smaller, as ranks count from 0")
    if not 0 < port < 65536:
        raise InputError(f"MASTER_PORT is {port}, must be from 1 to 65535")
    agent_store = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return Launch(world, rank, local_rank, environment["MASTER_ADDR"], port, agent_store, attempt, cpu, engine)


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "0")
    if not value.isdecimal() or len(value) > LONGEST_NUMBER:
        raise InputError(f"{name} is {value[:20]!r}, must be a whole number, as launchers set it")
    return int(value)


def _listed_types() -> str:
    return ", ".join(sorted({kind.distributed_type for kind in engine_kinds().values()}))
