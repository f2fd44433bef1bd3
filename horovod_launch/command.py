"""The command that starts a module on N ranks, with threads, binding and environment set for this machine."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


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
    """Threads a rank; None shares the cores evenly."""
    timeline: str | None = None
    """File for Horovod's timeline."""

    def __post_init__(self) -> None:
        if self.ranks < 1:
            raise ValueError(f"-np is {self.ranks}, expected a whole number from 1")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"--threads is {self.threads}, expected a whole number from 1")
        if self.hosts is not None and self.slots() < self.ranks:
            raise ValueError(f"-H {self.hosts} has {self.slots()} slots, fewer than -np {self.ranks}")

    def slots(self) -> int:
        """Slots that the hosts offer together."""
        total = 0
        for part in (self.hosts or f"localhost:{self.ranks}").split(","):
            name, _, count = part.partition(":")
            if not name or not (count or "1").isdigit():
                raise ValueError(f"-H {self.hosts}: {part!r} is not host:slots")
            total += int(count or "1")
        return total

    def is_local(self) -> bool:
        """Whether all ranks run on this machine, as far as the names of the hosts say."""
        own = {"localhost", "127.0.0.1", socket.gethostname()}
        return self.hosts is None or {part.partition(":")[0] for part in self.hosts.split(",")} <= own

    def local_ranks(self) -> int:
        """Most ranks on one host."""
        if self.hosts is None:
            return self.ranks
        return max(int(part.partition(":")[2] or "1") for part in self.hosts.split(","))


def environment(launch: Launch, cores: int, base: Mapping[str, str]) -> dict[str, str]:
    """Variables for the ranks: Open MPI's place, threads, and what an oversubscribed machine needs."""
    env = dict(base)
    prefix = Path(sys.prefix)
    env["PATH"] = f"{prefix / 'bin'}{os.pathsep}{env.get('PATH', '')}"
    env.setdefault("OPAL_PREFIX", str(prefix))
    threads = launch.threads or max(1, cores // launch.local_ranks())
    if launch.threads or "OMP_NUM_THREADS" not in env:
        env["OMP_NUM_THREADS"] = str(threads)
    if launch.local_ranks() > cores:
        env.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")  # waiting ranks must not take the cores of working ones
    if launch.timeline:
        env["HOROVOD_TIMELINE"] = launch.timeline
    return env


def _passed_on(env: Mapping[str, str]) -> list[str]:
    """Names of the variables that ranks on other hosts need."""
    exact = {"PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "OPAL_PREFIX", "OMP_NUM_THREADS", "VIRTUAL_ENV"}
    return sorted(n for n in env if n in exact or n.startswith(("HOROVOD_", "NCCL_", "OMPI_MCA_")))


def command(launch: Launch, cores: int, env: Mapping[str, str], is_root: bool) -> list[str]:
    """The whole command line."""
    python = [sys.executable, "-m", launch.module, *launch.arguments]
    if launch.ranks == 1 and launch.hosts is None:
        return python
    hosts = launch.hosts or f"localhost:{launch.ranks}"
    if launch.gloo:
        return ["horovodrun", "--gloo", "-np", str(launch.ranks), "-H", hosts, *python]
    line = ["mpirun", "-np", str(launch.ranks), "-H", hosts, "--oversubscribe"]
    line += ["--allow-run-as-root"] if is_root else []
    one_core_each = int(env.get("OMP_NUM_THREADS", "0")) == 1 and launch.local_ranks() <= cores
    line += ["--bind-to", "core" if one_core_each else "none", "--map-by", "slot"]
    line += ["--mca", "pml", "ob1", "--mca", "btl", "^openib"]
    if launch.hosts is not None:
        line += ["--prefix", sys.prefix]
    for name in _passed_on(env):
        line += ["-x", name]
    return line + python


def cores_here() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shown(line: Sequence[str]) -> str:
    """A command line as one would type it."""
    import shlex

    return shlex.join(line)
