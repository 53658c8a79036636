"""A real Slurm cluster on this machine while a test session lasts: munge, one controller, nodes with fake GPUs.

Every node lives in namespaces of its own: its host name is the node's, and killing it kills all that runs on it.
Nothing is left behind: configuration, keys, logs and sockets are in one folder; systemd, cgroups and accounting are
not used. Needs root.
"""

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

NODES = ("n1", "n2", "n3", "n4")
GPUS = 2
CPUS = 4
DAEMONS = ("/usr/sbin/munged", "/usr/sbin/slurmctld", "/usr/sbin/slurmd", "/usr/bin/sbatch")
PACKAGES = "slurmctld slurmd slurm-client munge"
SECONDS = 30.0
"""time for anything that should happen soon"""

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# a job that goes back into the queue waits so many seconds; 5 is the least
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
PlugStackConfig=/dev/null
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdParameters=config_overrides
# what takes minutes on a real cluster
SlurmctldTimeout=10
SlurmdTimeout=10
MessageTimeout=10
KillWait=5
CompleteWait=0
GresTypes=gpu
{nodes}
PartitionName=main Nodes={names} Default=YES MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=off
PartitionName=low Nodes={names} MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Nodes={names} MaxTime=INFINITE State=UP PriorityTier=100 PreemptMode=off
"""


def missing() -> str:
    """Why there can be no cluster here; empty where there can."""
    if absent := [daemon for daemon in DAEMONS if not Path(daemon).exists()]:
        return f"no {', '.join(absent)}: apt-get install --no-install-recommends {PACKAGES}"
    if os.geteuid() != 0:
        return "the Slurm daemons need root here"
    tried = subprocess.run(["unshare", "-muipf", "--mount-proc", "true"], capture_output=True, text=True, check=False)
    return f"no namespaces for the nodes: {tried.stderr.strip()}" if tried.returncode else ""


class Cluster:
    """A running cluster; its commands run here, its jobs on the nodes."""

    def __init__(self, folder: Path):
        """Start the daemons and wait until all nodes are idle.

        Args:
            folder: new; a short path, as it holds a socket.
        """
        self.folder = folder
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        self.environment = outside | {"SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._configure()
        try:
            self._start("munged", "/usr/sbin/munged", "--foreground", "--force", f"--socket={folder}/munge.socket",
                        f"--key-file={folder}/munge.key", f"--pid-file={folder}/munge.pid",
                        f"--seed-file={folder}/munge.seed", f"--log-file={folder}/munge.log")  # fmt: skip
            self.until(lambda: (folder / "munge.socket").exists())
            self._start("slurmctld", "/usr/sbin/slurmctld", "-D", "-c")
            for node in NODES:
                self.start_node(node)
            self.until(lambda: self.run("sinfo", "-hN", "-p", "main", "-o", "%T").split() == ["idle"] * len(NODES))
        except BaseException:
            self.down()
            raise

    def _configure(self) -> None:
        (self.folder / "state").mkdir()
        (self.folder / "munge.key").write_bytes(secrets.token_bytes(128))
        (self.folder / "munge.key").chmod(0o600)
        for gpu in range(GPUS):
            (self.folder / f"gpu{gpu}").symlink_to("/dev/null")  # Slurm wants a character device
        first = _free_ports(1 + len(NODES))
        addresses = {node: f"127.0.1.{number}" for number, node in enumerate(NODES, 1)}
        nodes = [
            f"NodeName={node} NodeAddr={address} Port={first + number} CPUs={CPUS} RealMemory=4000 Gres=gpu:{GPUS}"
            for number, (node, address) in enumerate(addresses.items(), 1)
        ]
        names = ",".join(NODES)
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=socket.gethostname(), port=first, folder=self.folder, nodes="\n".join(nodes), names=names
            )
        )
        (self.folder / "gres.conf").write_text(f"NodeName={names} Name=gpu File={self.folder}/gpu[0-{GPUS - 1}]\n")
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        hosts = "".join(f"{address} {node}\n" for node, address in addresses.items())
        (self.folder / "hosts").write_text(Path("/etc/hosts").read_text() + hosts)

    def _start(self, name: str, *words: str) -> None:
        """A daemon, which ends when the tests do, however they do."""
        with (self.folder / f"{name}.out").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, cwd=self.folder,
                start_new_session=True,
            )  # fmt: skip

    def start_node(self, node: str) -> None:
        """Start a node's daemon as a child of the first process of the node's namespaces."""
        daemon = (
            f"hostname {node}; mount --bind {self.folder}/hosts /etc/hosts; /usr/sbin/slurmd -D -N {node} & wait $!"
        )
        self._start(node, "unshare", "-muipf", "--kill-child", "--mount-proc", "bash", "-c", daemon)

    def kill_node(self, node: str) -> None:
        """End everything on a node at once, as a power cut does."""
        self._end(node)

    def restart_if_killed(self, node: str) -> None:
        if node not in self._daemons:
            self.start_node(node)
            self.until(lambda: self.run("sinfo", "-hN", "-n", node, "-p", "main", "-o", "%T").strip() == "idle")

    def _end(self, name: str) -> None:
        daemon = self._daemons.pop(name)
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()

    def down(self) -> None:
        """End every daemon and everything on the nodes."""
        for name in tuple(self._daemons):
            self._end(name)
        shutil.rmtree(self.folder)

    def run(self, *words: str | Path, **environment: str) -> str:
        """What a command of the cluster says; it must succeed."""
        ended = subprocess.run(
            list(map(str, words)), env=self.environment | environment, capture_output=True, text=True, timeout=SECONDS,
            check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"{words}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def until(self, condition: Callable[[], object], seconds: float = SECONDS) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not condition():
            dead = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            assert not dead, f"{dead} ended: {(self.folder / f'{dead[0]}.out').read_text()}"
            assert time.monotonic() < end, f"waited in vain:\n{self.run('squeue')}{self.run('sinfo')}"
            time.sleep(0.1)

    def job(self, job: str) -> dict[str, str]:
        """What the controller knows of a job, or of a task of an array."""
        return dict(
            word.split("=", 1) for word in self.run("scontrol", "-o", "show", "job", job).split() if "=" in word
        )

    def ended(self, *jobs: str) -> bool:
        """Whether no task of these jobs waits or runs."""
        return not self.run("squeue", "-h", "-j", ",".join(jobs)).strip()

    def cancel_everything(self) -> None:
        """Leave an empty queue."""
        self.run("scancel", "--user=root")
        self.until(lambda: not self.run("squeue", "-h").strip())


def _free_ports(count: int) -> int:
    """The first of some neighbouring free ports, below those that outgoing connections take."""
    while True:
        first = random.randrange(10_000, 30_000)
        if all(_is_free(port) for port in range(first, first + count)):
            return first


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("", port)).close()
    except OSError:
        return False
    return True
