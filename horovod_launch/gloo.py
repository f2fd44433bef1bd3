"""A job of ranks under Gloo. They are started here and not by horovodrun, which cannot pass signals on (SIGSTOP comes
before SIGTERM there), turns every status into 1 and takes the same interface name on all hosts.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from horovod_launch import asking, command, probe
from horovod_launch.command import Launch
from horovod_launch.hosts import Host, address_of, is_this_machine
from horovod_launch.jobs import KILLED
from horovod_launch.network import Choice
from horovod_launch.rendezvous import Rendezvous

LOOPBACK = "127.0.0.1"
TOLD_S = 5
"""Time for the other ranks to end by themselves after one has failed."""
SAYS_WHY = frozenset((2, 3, 4, 5, 6))
"""Statuses for which the rank itself prints a line."""


@dataclass(frozen=True)
class Slot:
    """The place of one rank."""

    rank: int
    host: str
    variables: Mapping[str, str]


def slots(hosts: Sequence[Host]) -> list[Slot]:
    """The ranks in order, with the variables that tell Horovod their place."""
    size = sum(host.slots for host in hosts)
    found: list[Slot] = []
    for number, host in enumerate(hosts):
        for local in range(host.slots):
            sharing = [other for other in hosts if other.slots > local]
            places = {
                "HOSTNAME": host.name,
                "RANK": len(found),
                "SIZE": size,
                "LOCAL_RANK": local,
                "LOCAL_SIZE": host.slots,
                "CROSS_RANK": sum(other.slots > local for other in hosts[:number]),
                "CROSS_SIZE": len(sharing),
            }
            found.append(Slot(len(found), host.name, {f"HOROVOD_{k}": str(v) for k, v in places.items()}))
    return found


def _own_address(towards: str) -> str:
    """The address of this machine from which packets to another one leave."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect((towards, 9))
        return str(asked.getsockname()[0])


def _loopback_name() -> str:
    return next((name for name, address, _ in probe.interfaces() if address == LOOPBACK), "lo")


def variables(slot: Slot, env: Mapping[str, str], choice: Choice | None, port: int) -> dict[str, str]:
    """The variables of one rank.

    Args:
        env: those of all ranks.
        choice: the interfaces of the hosts, None where all ranks run on this machine.
        port: that of the rendezvous server, on this machine.
    """
    interface = choice.of_host[slot.host] if choice else None
    if choice is None:
        address, name = LOOPBACK, _loopback_name()
    else:
        address = _own_address(str(interface.address) if interface else address_of(slot.host) or slot.host)
        name = interface.name if interface else ""
    found = dict(env) if is_this_machine(slot.host) else {n: env[n] for n in command.passed_on(env)}
    found |= slot.variables
    found |= {"HOROVOD_GLOO_RENDEZVOUS_ADDR": address, "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port)}
    found |= {"HOROVOD_CONTROLLER": "gloo", "HOROVOD_CPU_OPERATIONS": "gloo"}
    if name:
        found.setdefault("HOROVOD_GLOO_IFACE", name)
        found.setdefault("NCCL_SOCKET_IFNAME", f"={name}")
    return found


class GlooJob:
    """Ranks under Gloo, each with a `keeper` on its host."""

    def __init__(self, launch: Launch, env: Mapping[str, str], choice: Choice | None) -> None:
        self._rendezvous = Rendezvous(LOOPBACK if choice is None else "")
        self._slots = slots(launch.placed())
        self._ended: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        silence = command.silence_seconds(env)
        self._keepers = []
        for slot in self._slots:  # from this thread only: see `jobs.dies_with`
            own = variables(slot, env, choice, self._rendezvous.port)
            order = {"command": command.program(launch), "env": own, "folder": str(Path.cwd())}
            self._keepers.append(self._start(slot.host, order, silence))
        for rank, keeper in enumerate(self._keepers):
            threading.Thread(target=self._await, args=(rank, keeper), daemon=True).start()

    def _start(self, host: str, order: Mapping[str, object], silence: int) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", "horovod_launch.keeper"]
        if not is_this_machine(host):
            alive = ["-o", f"ServerAliveInterval={max(1, silence // 8)}", "-o", "ServerAliveCountMax=10"]
            places = [f"PYTHONPATH={os.environ['PYTHONPATH']}"] if "PYTHONPATH" in os.environ else []
            start = shlex.join(["env", *places, *line])
            line = asking.ssh(host, f"cd {shlex.quote(str(Path.cwd()))} && exec {start}", alive)
        process = subprocess.Popen(line, stdin=subprocess.PIPE, bufsize=0, start_new_session=True)
        self._write(process, json.dumps(order))
        return process

    def _write(self, keeper: subprocess.Popen[bytes], line: str) -> None:
        """Send a line; without a buffer, because a signal handler may come between."""
        assert keeper.stdin
        left = memoryview(f"{line}\n".encode())
        with suppress(OSError):  # it has ended: its status says why
            while left:
                left = left[os.write(keeper.stdin.fileno(), left) :]

    def _await(self, rank: int, keeper: subprocess.Popen[bytes]) -> None:
        self._ended.put((rank, keeper.wait()))

    def tell(self, number: int) -> None:
        for keeper in self._keepers:
            self._write(keeper, str(int(number)))

    def end(self) -> None:
        self.tell(signal.SIGKILL)

    def wait(self) -> int:
        first, left, deadline = 0, set(range(len(self._keepers))), None
        while left:
            try:
                rank, status = self._ended.get(timeout=deadline and max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self._give_up(left)
                deadline = time.monotonic() + TOLD_S
                continue
            left.discard(rank)
            status = KILLED - status if status < 0 else status
            if status and not first:
                first, deadline = status, time.monotonic() + TOLD_S
                self._say(rank, status)
        return first

    def _give_up(self, left: set[int]) -> None:
        """End the ranks that are left, and the connections to hosts that do not answer."""
        for rank in left:
            self._write(self._keepers[rank], str(int(signal.SIGKILL)))
        time.sleep(0.5)
        for rank in left:
            if self._keepers[rank].poll() is None:
                self._keepers[rank].kill()

    def _say(self, rank: int, status: int) -> None:
        where = f"rank {rank} on {self._slots[rank].host}"
        if status == 255:
            text = f"{where}: the connection to the host ended"
        elif status > KILLED:
            text = f"{where} was ended by signal {status - KILLED} ({signal.strsignal(status - KILLED)})"
        elif status in SAYS_WHY:
            return
        else:
            text = f"{where} ended with status {status}"
        print(f"{text}; the other ranks are ended", file=sys.stderr, flush=True)


def shown(launch: Launch, env: Mapping[str, str]) -> list[str]:
    """The ranks of a job and their variables, a line each."""
    lines = []
    for slot in slots(launch.placed()):
        own = " ".join(f"{name}={value}" for name, value in slot.variables.items())
        threads = f"OMP_NUM_THREADS={env['OMP_NUM_THREADS']} " if "OMP_NUM_THREADS" in env else ""
        lines.append(f"on {slot.host}: {threads}{own} HOROVOD_CONTROLLER=gloo {command.shown(command.program(launch))}")
    return lines
