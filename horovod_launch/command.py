"""What a launch is, its variables, and the command of mpirun for it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from horovod_launch import hosts, network
from horovod_launch.hosts import Host

SILENCE = "RECSYS_SILENCE_SECONDS"
SILENCE_S = 300
PASSED_ON = frozenset(
    "PATH PYTHONPATH LD_LIBRARY_PATH OPAL_PREFIX OMP_NUM_THREADS VIRTUAL_ENV XLA_FLAGS PYTHONHASHSEED "
    "NVIDIA_TF32_OVERRIDE CUDA_DEVICE_ORDER".split()
)
PASSED_ON_PREFIXES = ("HOROVOD_", "NCCL_", "UCX_", "OMPI_MCA_", "TF_", "RECSYS_")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What to start."""

    ranks: int
    module: str
    arguments: tuple[str, ...] = ()
    hosts: str | None = None
    """host:slots,host:slots; None is this machine."""
    gloo: bool = False
    """Gloo instead of MPI (needs no MPI, slower on CPUs)."""
    threads: int | None = None
    """Threads a rank; None shares the cores of each host evenly."""
    timeline: str | None = None
    """File for Horovod's timeline."""
    network: str | None = None
    """The network for messages of ranks, as 10.0.0.0/8; None chooses."""
    restarts: int = 0
    """How often a job that lost a rank is started again from its last checkpoint."""

    def __post_init__(self) -> None:
        if self.ranks < 1:
            raise ValueError(f"-np is {self.ranks}, expected a whole number from 1")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"--threads is {self.threads}, expected a whole number from 1")
        if self.restarts < 0:
            raise ValueError(f"--restarts is {self.restarts}, expected a whole number from 0")
        if self.network is not None:
            network.parsed(self.network)
        if self.hosts is not None and self.slots() < self.ranks:
            raise ValueError(f"-H {self.hosts} has {self.slots()} slots, fewer than -np {self.ranks}")

    def slots(self) -> int:
        """Slots that the hosts offer together."""
        return sum(host.slots for host in hosts.parsed(self.hosts or f"localhost:{self.ranks}"))

    def placed(self) -> tuple[Host, ...]:
        """The hosts that run ranks, in the order of the ranks, each with its number of ranks."""
        return hosts.filled(hosts.parsed(self.hosts or f"localhost:{self.ranks}"), self.ranks)

    def is_local(self) -> bool:
        """Whether all ranks run on this machine, as far as names and addresses of the hosts say."""
        return self.hosts is None or all(hosts.is_this_machine(host.name) for host in self.placed())

    def local_ranks(self) -> int:
        """Most ranks on one host."""
        return max(host.slots for host in self.placed())

    def is_one_process(self) -> bool:
        """Whether no launcher is needed."""
        return self.ranks == 1 and self.hosts is None

    def is_training(self) -> bool:
        """Whether the module trains a model: it saves a checkpoint when it is asked to stop, and can be resumed."""
        return self.module.endswith(".train")


def silence_seconds(base: Mapping[str, str]) -> int:
    """Seconds after which a silent host ends the job.

    0 switches the watchdog of the ranks off; the launcher itself then looks after its hosts as by default.

    Raises:
        ValueError: the variable is not a whole number.
    """
    text = base.get(SILENCE, str(SILENCE_S))
    if not text.isdigit():
        raise ValueError(f"{SILENCE} is {text!r}, expected a whole number of seconds; 0 switches the watchdog off")
    return int(text) or SILENCE_S


def keepalive(silence: int) -> dict[str, str]:
    """Open MPI's settings with which mpirun notices that a host does not answer any more.

    It takes a quarter longer than `silence`: ranks that watch each other name the silent one before.
    """
    times = {"time": max(1, silence // 4), "intvl": max(1, silence // 10), "probes": 10}
    return {f"OMPI_MCA_oob_tcp_keepalive_{name}": str(value) for name, value in times.items()}


def mpi_prefix(env: Mapping[str, str]) -> str:
    """The folder of Open MPI: OPAL_PREFIX, else that of the first mpirun on PATH, "" without one."""
    found = shutil.which("mpirun", path=env.get("PATH", ""))
    return env.get("OPAL_PREFIX") or (str(Path(found).parent.parent) if found else "")


def environment(launch: Launch, cores: int, base: Mapping[str, str]) -> dict[str, str]:
    """Variables for the ranks: Open MPI's place, threads, waiting times.

    Args:
        cores: those of the host with the fewest, for each rank that runs there.
    """
    env = dict(base)
    env["PATH"] = f"{Path(sys.prefix, 'bin')}{os.pathsep}{env.get('PATH', '')}"
    if mpi_prefix(env) == sys.prefix:  # the wheel of Open MPI was built for another folder
        env.setdefault("OPAL_PREFIX", sys.prefix)
    if launch.threads:
        env["OMP_NUM_THREADS"] = str(launch.threads)
    elif launch.is_local():  # a rank on another host divides the cores of that host itself
        env.setdefault("OMP_NUM_THREADS", str(max(1, cores // launch.local_ranks())))
    if launch.local_ranks() > cores:
        env.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")  # waiting ranks must not take the cores of working ones
    if launch.timeline:
        env["HOROVOD_TIMELINE"] = launch.timeline
    silence = silence_seconds(base)
    env.setdefault("HOROVOD_GLOO_TIMEOUT_SECONDS", str(silence))
    return env if launch.is_local() else keepalive(silence) | env


def passed_on(env: Mapping[str, str]) -> list[str]:
    """Names of the variables that ranks on other hosts need.

    CUDA_VISIBLE_DEVICES lists the GPUs of one host, so it is passed on only where it hides all of them.
    """
    names = {n for n in env if n in PASSED_ON or n.startswith(PASSED_ON_PREFIXES)}
    if env.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        names.add("CUDA_VISIBLE_DEVICES")
    return sorted(names)


def program(launch: Launch) -> list[str]:
    """The command of one rank."""
    return [sys.executable, "-m", launch.module, *launch.arguments]


def transport(several_hosts: bool) -> list[str]:
    """mpirun's flags for the transport: ob1 (shared memory) on one host. On several hosts Open MPI chooses: UCX
    where the network has RDMA.
    """
    return [*([] if several_hosts else ["--mca", "pml", "ob1"]), "--mca", "btl", "^openib"]


def command(launch: Launch, cores: int, env: Mapping[str, str], is_root: bool) -> list[str]:
    """The command line: the program itself for one process, else mpirun."""
    if launch.is_one_process():
        return program(launch)
    line = ["mpirun", "-np", str(launch.ranks), "-H", hosts.shown(launch.placed()), "--oversubscribe"]
    line += ["--allow-run-as-root"] if is_root else []
    one_core_each = int(env.get("OMP_NUM_THREADS", "0")) == 1 and launch.local_ranks() <= cores
    line += ["--bind-to", "core" if one_core_each and launch.is_local() else "none", "--map-by", "slot"]
    line += transport(not launch.is_local())
    if launch.hosts is not None and mpi_prefix(env):
        line += ["--prefix", mpi_prefix(env)]
    for name in passed_on(env):
        line += ["-x", name]
    return line + program(launch)


def shown(line: Sequence[str]) -> str:
    """A command line as one would type it."""
    return shlex.join(line)
