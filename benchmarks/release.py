"""A release under load: a real Triton server answers while a version is compared, shadowed, promoted and rolled back.

Clients over HTTP and gRPC ask without retries. A failed request is one that was refused, or had no answer in 5 seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.tables import TABLES
from recsys_core.measuring.conditions import Watch, busy_reason
from recsys_core.measuring.percentiles import latency_fields
from recsys_core.measuring.records import record

if TYPE_CHECKING:  # `serving` imports pandas, which --help does not need
    from serving.triton.server import Ports

NAME = "release"
TIMEOUT = 5.0
PHASES = ("served", "shadowed", "promoted", "rolled back")
SHARES = (0.2, 0.4, 0.2, 0.2)
"""Share of --seconds that each phase lasts, besides the command that begins it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--export", metavar="RUN", type=Path, required=True, help="the run that is served at first")
    parser.add_argument("--candidate", metavar="RUN", type=Path, required=True, help="the run that is published")
    parser.add_argument("--seconds", type=float, default=60.0, help="shortest time of load (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=4, help="half over HTTP, half over gRPC (default: %(default)s)")
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between a client's requests")
    parser.add_argument("--margin", type=float, default=0.002, help="of the paired comparison (default: %(default)s)")
    parser.add_argument("--shadow", type=float, default=0.25, help="share of the requests (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")


@dataclass(kw_only=True)
class Load:
    """Clients that ask in turn for users who have one item of an export, each in a thread of its own."""

    ports: Ports
    items: Sequence[Any]
    clients: int
    pause: float
    answered: list[tuple[float, float]] = field(default_factory=list)
    """Of each answered request: when it was sent, and the seconds until its answer."""
    failed: list[str] = field(default_factory=list)

    def _ask(self, number: int, stop: threading.Event) -> None:
        from serving.triton.client import Client

        protocol, port = ("http", self.ports.http) if number % 2 else ("grpc", self.ports.grpc)
        turn = number
        with Client(f"127.0.0.1:{port}", protocol=protocol, retries=0, timeout=TIMEOUT) as client:
            while not stop.is_set():
                sent = time.monotonic()
                try:
                    client.recommend(NAME, items=[self.items[turn % len(self.items)]], k=10)
                    self.answered.append((sent, time.monotonic() - sent))
                except Exception as error:
                    self.failed.append(f"{protocol}: {error}")
                turn += self.clients
                stop.wait(self.pause)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        stop = threading.Event()
        threads = [threading.Thread(target=self._ask, args=(k, stop), daemon=True) for k in range(self.clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)

    def between(self, start: float, end: float) -> dict[str, Any]:
        """Number and milliseconds of the requests that were sent in an interval; no percentile of too few."""
        taken = [1e3 * seconds for sent, seconds in self.answered if start <= sent < end]
        if not taken:
            return {"requests": 0}
        return {"requests": len(taken), **latency_fields(taken, (0.5, 0.99)), "max_ms": max(taken)}


def _serving(*words: str | Path) -> str:
    """Run a command of `serving`; returns what it printed.

    Raises:
        RuntimeError: its status is not 0.
    """
    line = [sys.executable, "-m", "serving", *map(str, words)]
    done = subprocess.run(line, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(done.stdout, end="", flush=True)
    if done.returncode:
        raise RuntimeError(f"serving {words[0]} ended with status {done.returncode}")
    return done.stdout


def _release(args: argparse.Namespace, load: Load, where: Sequence[str | Path]) -> dict[str, dict[str, Any]]:
    """Go through the phases; returns the requests of each, and of the command that begins it."""
    commands: dict[str, Sequence[str | Path]] = {
        "shadowed": ("--export", args.candidate, "--margin", str(args.margin), "--shadow", str(args.shadow)),
        "promoted": ("--promote",),
        "rolled back": ("--rollback",),
    }
    found = {}
    for phase, share in zip(PHASES, SHARES, strict=True):
        start = time.monotonic()
        if phase in commands:
            _serving("publish", *commands[phase], *where)
            found[f"(becoming {phase})"] = load.between(start, time.monotonic())
            start = time.monotonic()
        time.sleep(share * args.seconds)
        if phase == "shadowed":
            _serving("publish", "--shadow-report", *where)
        found[phase] = load.between(start, time.monotonic())
    return found


def main(args: argparse.Namespace) -> int:
    """0 if no request failed, else 1. A busy machine makes latencies invalid, but no failed request valid."""
    from serving.export_folder import open_export
    from serving.triton import server

    items = open_export(args.export).item_ids.tolist()
    with tempfile.TemporaryDirectory(prefix="release-") as scratch:
        folder = Path(scratch)
        _serving("triton", "build", "--export", args.export, "--repository", folder, "--name", NAME)
        with server.running(folder) as (_, ports):
            load = Load(ports=ports, items=items, clients=args.clients, pause=args.pause)
            where = ("--repository", folder, "--name", NAME, "--url", f"127.0.0.1:{ports.http}")
            begun, watch = time.monotonic(), Watch()
            with load.running():
                phases = _release(args, load, where)
            seconds, busy = time.monotonic() - begun, busy_reason(watch.since())
    rows = [{"phase": name, "clients": args.clients, **values} for name, values in phases.items()]
    print(TABLES["release"].as_text(rows))
    for row in rows:
        record(args.results, "release", row | {"invalid": [busy] if busy else []})
    total = len(load.answered) + len(load.failed)
    print(f"{total:,} requests in {seconds:.0f} s, {len(load.failed):,} failed")
    for text in load.failed[:5]:
        print(f"  {text}")
    if args.json is not None:
        result = {"seconds": seconds, "requests": total, "failed": len(load.failed), "phases": phases}
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    return int(bool(load.failed))
