"""The faults of `tests.hosts.faults`: what is done to a training on two hosts, and with which statuses it may end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.hosts import Hosts, signal_to

MPI, GLOO = "MPI", "Gloo"
LAUNCHERS = (MPI, GLOO)
SILENCE_S = 8
"""RECSYS_SILENCE_SECONDS of the trainings."""
FINISHED = 3
"""The status of the trainings: their gate cannot be passed, so that none takes the time of an export."""


@dataclass(frozen=True)
class Target:
    """A training that runs."""

    there: Hosts
    job: subprocess.Popen[str]
    """`horovod_launch run`, on host h1."""
    module: str
    random: random.Random

    def rank(self, host: str) -> int:
        """The process of the rank of a host."""
        lines = {pid: words_of(pid) for pid in self.there.pids(host, f"-m {self.module}")}
        return min(pid for pid, words in lines.items() if Path(words[0]).name.startswith("python"))


def words_of(pid: int) -> list[str]:
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong."""

    do: Callable[[Target], str]
    """Does it, and returns a detail, as which rank was taken."""
    statuses: Mapping[str, tuple[int, ...]]
    """Launcher -> statuses of `run` that docs/several-machines.md states; without a launcher the fault is not tried."""
    saves: bool = False
    """Whether the training is asked to stop, and so must not lose a step."""
    goes_on: bool = False
    """Whether the training goes on to its end."""


def _signal_to_run(number: int) -> Callable[[Target], str]:
    def do(target: Target) -> str:
        signal_to(target.job, number)
        return ""

    return do


def _kill_rank_of(host: str) -> Callable[[Target], str]:
    def do(target: Target) -> str:
        os.kill(target.rank(host), signal.SIGKILL)
        return ""

    return do


def _kill_mpirun(target: Target) -> str:
    for pid in target.there.pids("h1", "mpirun -np"):
        if Path(words_of(pid)[0]).name == "mpirun":
            os.kill(pid, signal.SIGKILL)
    return ""


def _freeze(target: Target) -> str:
    rank = target.random.randrange(2)
    os.kill(target.rank(target.there.names[rank]), signal.SIGSTOP)
    return f"rank {rank}"


def _cut(target: Target) -> str:
    target.there.link("h2", up=False)
    return ""


def _cut_for_a_while(target: Target) -> str:
    seconds = target.random.uniform(1, SILENCE_S / 2)
    target.there.link("h2", up=False)
    time.sleep(seconds)
    target.there.link("h2", up=True)
    return f"{seconds:.1f} s"


def _end_host(target: Target) -> str:
    target.there.stop("h2")
    return ""


def _same(*statuses: int) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(LAUNCHERS, statuses)


FAULTS: dict[str, Fault] = {
    "kill -9 of the rank on host 2": Fault(_kill_rank_of("h2"), _same(137)),
    "kill -9 of rank 0": Fault(_kill_rank_of("h1"), _same(137)),
    "SIGTERM to `run`": Fault(_signal_to_run(signal.SIGTERM), _same(0), saves=True),
    "SIGINT to `run`": Fault(_signal_to_run(signal.SIGINT), _same(130), saves=True),
    "SIGUSR1 to `run`": Fault(_signal_to_run(signal.SIGUSR1), _same(0), saves=True),
    "SIGKILL of `run`": Fault(_signal_to_run(signal.SIGKILL), _same(137)),
    "SIGKILL of mpirun": Fault(_kill_mpirun, {MPI: (137,)}),
    "SIGSTOP of a rank": Fault(_freeze, _same(6)),
    "host 2 is cut off for good": Fault(_cut, _same(6, 205, 255)),
    "host 2 is cut off and back in time": Fault(_cut_for_a_while, _same(FINISHED), goes_on=True),
    "host 2 ends": Fault(_end_host, {MPI: (205, 255), GLOO: (255,)}),
}


def kill(pids: list[int]) -> None:
    """Kill processes that a fault left."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
