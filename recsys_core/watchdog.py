"""The watchdog of a job of several ranks: a rank that is silent is named with its host, then the job ends.

Horovod notices neither a frozen process nor a cut cable under MPI, and under Gloo only as an error of the exchange.
Beside each rank runs the program `heartbeat`, which gets lines of JSON and answers in such lines:

    in   {"rank": r, "hosts": [..], "limit": s, "token": t, "addresses": [..], "port": p}    the first line
    out  {"port": p}           rank 0: where it listens
    in   {"run": folder}       the run, for the last message      {"bye": true}    the rank has ended its work
    out  {"lost": r}           the connection of a rank has ended without bye      {"back": r}    there is one again
    out  {"end": true}         a rank was silent for too long, which was said: end the job
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psutil

from recsys_core.errors import place
from recsys_core.silence import SILENT

T = TypeVar("T")

VARIABLE, DEFAULT = "RECSYS_SILENCE_SECONDS", 300.0
MOST_STARTS = 4
"""A heartbeat process that is killed is started again, but not for ever."""


def silence_seconds() -> float:
    """Seconds of silence after which a job ends; 0 switches the watchdog off.

    Raises:
        ValueError: the variable holds no such number.
    """
    text = os.environ.get(VARIABLE, "").strip()
    try:
        found = float(text or DEFAULT)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise ValueError(f"{VARIABLE} is {text!r}, expected seconds (default: {DEFAULT:.0f}); 0 switches it off")
    return found


def set_gloo_timeout() -> None:
    """Give Gloo the same patience, before Horovod starts; its own is 30 seconds.

    It also waits so long for ranks that start, which takes seconds, so it is never given less than a minute.
    """
    with contextlib.suppress(ValueError):  # rank 0 will say so
        if seconds := silence_seconds():
            os.environ.setdefault("HOROVOD_GLOO_TIMEOUT_SECONDS", str(max(60, round(seconds))))


class Ranks(Protocol):
    """What the watchdog needs of `world.World`."""

    rank: int
    size: int

    @property
    def is_rank0(self) -> bool: ...

    def run_on_rank0(self, work: Callable[[], T]) -> T: ...

    def gather(self, value: T) -> list[T]: ...

    def broadcast(self, value: T) -> T: ...

    def abort(self, status: int) -> None: ...


class Watchdog:
    """The heartbeat process of this rank, and the thread that ends the job when it says so."""

    def __init__(self, world: Ranks, given: dict[str, Any]) -> None:
        """
        Args:
            given: the first line for the heartbeat process.
        """
        self._world, self._given = world, given
        self._lost: set[int] = set()
        self._some_lost, self._closing = threading.Event(), False
        self._process = self._start()
        if world.rank == 0:
            line = self._line()
            given["port"] = json.loads(line)["port"] if line else 0
        self._thread = threading.Thread(target=self._listen, name="watchdog", daemon=True)
        self._thread.start()

    def _start(self) -> subprocess.Popen[str]:
        program = Path(__file__).with_name("heartbeat.py")
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # signals for the rank's group are for the rank
        )
        self._send(process, **self._given)
        return process

    def _send(self, process: subprocess.Popen[str], **values: Any) -> None:
        with contextlib.suppress(OSError, ValueError):
            assert process.stdin is not None
            process.stdin.write(json.dumps(values) + "\n")
            process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def _listen(self) -> None:
        for _ in range(MOST_STARTS):
            while line := self._line():
                told = json.loads(line)
                if told.get("end"):
                    self._world.abort(SILENT)
                if "lost" in told:
                    self._lost.add(int(told["lost"]))
                    self._some_lost.set()
                self._lost.discard(told.get("back", -1))
            if self._closing:
                return
            self._process.wait()
            self._process = self._start()

    def name_run(self, folder: Path) -> None:
        """Name the run in the last message, as the one to go on with."""
        self._given["run"] = str(folder.absolute())
        self._send(self._process, run=self._given["run"])

    def lost_line(self, seconds: float) -> str | None:
        """A line on the rank whose connection has ended; None where all are there, "" where rank 0 says it.

        Args:
            seconds: time to wait for such news.
        """
        self._some_lost.wait(seconds)
        if not self._lost:
            return None if self._world.is_rank0 else ""
        rank, run = min(self._lost), self._given.get("run")
        hint = f"; go on from the last checkpoint with --resume {run}" if run else ""
        return f"error: {place(rank, self._given['hosts'][rank])} ended before the others{hint}\n"

    def close(self) -> None:
        """End the heartbeat process: this rank has ended its work."""
        self._closing = True
        self._send(self._process, bye=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
            self._thread.join(5)


def own_addresses() -> list[str]:
    """IPv4 addresses at which other hosts may reach this one, and 127.0.0.1 last, for ranks of this host."""
    up = {name for name, found in psutil.net_if_stats().items() if found.isup}
    found = [
        address.address
        for name, addresses in psutil.net_if_addrs().items()
        for address in addresses
        if name in up and address.family == socket.AF_INET
    ]
    return sorted(found, key=lambda address: address.startswith("127."))


def start(world: Ranks) -> Watchdog | None:
    """Watch the ranks of a job; every rank takes part. None for a single process, or where it is switched off.

    Raises:
        SharedError: RECSYS_SILENCE_SECONDS of rank 0 is no number of seconds.
    """
    if world.size == 1:
        return None
    limit = world.run_on_rank0(silence_seconds)
    if not limit:
        return None
    hosts = world.gather(socket.gethostname())
    given: dict[str, Any] = {"rank": world.rank, "hosts": hosts, "limit": limit}
    first = None
    if world.is_rank0:
        given |= {"token": secrets.token_hex(16), "addresses": own_addresses()}
        first = Watchdog(world, given)
    shared = world.broadcast({name: given.get(name) for name in ("token", "addresses", "port")})
    return first or Watchdog(world, {**given, **shared})
