"""Starting the target of a load: engine processes, a thread of this process, or connections to a Triton server."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from load_study.engines.cores import CorePlan, default_engines, divide_cores, pinned_to, usable_cores
from load_study.engines.in_process import InProcess
from load_study.engines.pool import EnginePool
from load_study.subjects import Subject
from load_study.traffic.queries import Target

PORTS = {"triton-http": 8000, "triton-grpc": 8001}
TRITON_WORKERS = 8
"""Workers of a closed loop on a Triton server."""
SHARES_NOTHING = "a process and cores of its own"
SHARES_CORES = "a process of its own, cores of the engines"
SHARES_ALL = "process and cores of the engine"
SHARES_WITH_SERVER = "a process of its own, cores not kept from the server"


@dataclass(frozen=True, kw_only=True)
class RunningTarget:
    """A target that is ready, and the number of engines behind it."""

    target: Target
    engines: int
    settle: Callable[[], None]
    """Wait until every query is answered."""
    generator: str
    """What the generator runs on, and what it shares with the engines: one of the texts above."""


@contextmanager
def running_target(subject: Subject, args: argparse.Namespace) -> Iterator[RunningTarget]:
    """The target that the flags of `options.add_engine_flags` choose, for one subject; closed at the end.

    The generator's process is pinned to the cores that no engine of a pool runs on, where there are any.

    Raises:
        ValueError: a Triton server without an export, or without the model.
        RuntimeError: an engine did not start.
    """
    pinned: Any = nullcontext()
    if args.target == "pool":
        plan = core_plan(args)
        engines, generator = len(plan.engines), SHARES_CORES if plan.is_shared else SHARES_NOTHING
        made: Any = EnginePool(
            subject, engines=engines, cores=args.cores, largest=args.largest, queue_limit=args.queue_limit
        )
        pinned = pinned_to(plan.generator)
    elif args.target == "in-process":
        made, engines, generator = InProcess(subject, threads=args.cores, largest=args.largest), 1, SHARES_ALL
    else:
        if subject.export is None:
            raise ValueError(f"--target {args.target} needs --export, whose test users are in the requests")
        from load_study.engines.triton import Triton

        url, engines, generator = args.url or f"127.0.0.1:{PORTS[args.target]}", TRITON_WORKERS, SHARES_WITH_SERVER
        protocol = args.target.removeprefix("triton-")
        made = Triton(url, args.name, subject.export, protocol=protocol, timeout=args.timeout, data=subject.data)
    with made, pinned:
        yield RunningTarget(target=made, engines=engines, settle=made.settle, generator=generator)


def core_plan(args: argparse.Namespace) -> CorePlan:
    """The cores of the engines of a pool, and of the generator."""
    mine = usable_cores()
    return divide_cores(mine, args.engines or default_engines(len(mine), args.cores), args.cores)
