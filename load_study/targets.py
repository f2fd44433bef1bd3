"""Starting the target of a load: engine processes, a thread of this process, or connections to a Triton server."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from load_study.engines.in_process import InProcess
from load_study.engines.pool import EnginePool
from load_study.subjects import Subject
from load_study.traffic.queries import Target

PORTS = {"triton-http": 8000, "triton-grpc": 8001}
TRITON_WORKERS = 8
"""Workers of a closed loop on a Triton server."""


@dataclass(frozen=True, kw_only=True)
class RunningTarget:
    """A target that is ready, and the number of engines behind it."""

    target: Target
    engines: int
    settle: Callable[[], None]
    """Wait until every query is answered."""


@contextmanager
def running_target(subject: Subject, args: argparse.Namespace) -> Iterator[RunningTarget]:
    """The target that the flags of `options.add_engine_flags` choose, for one subject; closed at the end.

    Raises:
        ValueError: a Triton server without an export, or without the model.
        RuntimeError: an engine did not start.
    """
    if args.target == "pool":
        engines = args.engines or count_cores() // args.cores or 1
        made: Any = EnginePool(
            subject, engines=engines, cores=args.cores, largest=args.largest, queue_limit=args.queue_limit
        )
    elif args.target == "in-process":
        made, engines = InProcess(subject, threads=args.cores, largest=args.largest), 1
    else:
        if subject.export is None:
            raise ValueError(f"--target {args.target} needs --export, whose test users are in the requests")
        from load_study.engines.triton import Triton

        url, engines = args.url or f"127.0.0.1:{PORTS[args.target]}", TRITON_WORKERS
        protocol = args.target.removeprefix("triton-")
        made = Triton(url, args.name, subject.export, protocol=protocol, timeout=args.timeout, data=subject.data)
    with made:
        yield RunningTarget(target=made, engines=engines, settle=made.settle)


def count_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
