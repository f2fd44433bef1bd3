"""Arguments that the load benchmarks share: what is asked, by which engines, and how."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inference.engines import EnginePool, InProcess
from benchmarks.inference.subjects import DELAYS, ONNX, Subject
from benchmarks.inference.triton import Triton
from benchmarks.traffic import sizes
from benchmarks.traffic.queries import Target
from benchmarks.zoo.configurations import CONFIGURATIONS

TARGETS = ("pool", "in-process", "triton-http", "triton-grpc")
PORTS = {"triton-http": 8000, "triton-grpc": 8001}


def add_subject(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """What is asked."""
    add, known = parser.add_argument, f"{', '.join(CONFIGURATIONS)}; {DELAYS[0]}:MS; {DELAYS[1]}:MS"
    if several:
        add("--model", nargs="+", default=[], help=f"all, or of the zoo: {known}")
        add("--export", type=Path, nargs="+", default=[], help="trained models: RUN_DIR/export")
    else:
        add("--model", help=f"of the zoo, or a known delay: {known}")
        add("--export", type=Path, help="a trained model: RUN_DIR/export")
    add("--engine", default=ONNX, help="tensorflow, tensorflow-xla, or a conversion (default: %(default)s)")
    add(
        "--table-mib",
        type=int,
        default=256,
        help="memory of the tables of a zoo model; published ones have up to 4 GB (default: %(default)s)",
    )
    add("--kept", type=Path, default=Path("runs/zoo"), help="folder of converted zoo models (default: %(default)s)")


def add_engines(parser: argparse.ArgumentParser) -> None:
    """By which engines or server, and with queries of which size."""
    add = parser.add_argument
    add("--target", choices=TARGETS, default="pool", help="(default: %(default)s)")
    add("--url", help="host:port of the server (default: 127.0.0.1:8000, gRPC 8001)")
    add("--name", default="recommender", help="of the model there (default: %(default)s)")
    add("--timeout", type=float, default=10.0, help="seconds in which an answer must come (default: %(default)s)")
    add("--engines", type=int, default=0, help="processes (default: one a core)")
    add("--cores", type=int, default=1, help="of each engine (default: %(default)s)")
    add("--sizes", default="lognormal:5.1,0.2", help=f"of: {', '.join(sizes.NAMES)} (default: %(default)s)")
    add("--largest", type=int, default=1024, help="size of a query (default: %(default)s)")
    add("--queue-limit", type=int, help="requests that may wait; more are refused (default: any number)")
    add("--seed", type=int, default=0, help="(default: %(default)s)")


def subjects(args: argparse.Namespace) -> list[Subject]:
    """What was asked for.

    Raises:
        ValueError: nothing, an unknown model, or a number below 1 where that makes no sense.
    """
    for name in ("cores", "largest", "table_mib", "repeats", "rounds", "most", "splits", "batches"):
        for value in np.atleast_1d(getattr(args, name, 1)):
            if value < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {value}, expected a whole number from 1")
    listed = isinstance(args.model, list)
    names = args.model if listed else [args.model] if args.model else []
    names = list(CONFIGURATIONS) if names == ["all"] else names
    exports = args.export if listed else [args.export] if args.export else []
    if not names and not exports:
        raise ValueError("nothing to ask: give --model NAME or --export RUN_DIR/export")
    return [*(_named(name, args) for name in names), *(_exported(folder, args) for folder in exports)]


def words_for(subject: Subject, args: argparse.Namespace) -> list[str]:
    """Arguments that ask for a subject again, in another process."""
    who = ["--export", str(subject.export)] if subject.export else ["--model", subject.model]
    return [*who, "--engine", args.engine, "--table-mib", str(args.table_mib), "--kept", str(args.kept)]


def _named(name: str, args: argparse.Namespace) -> Subject:
    kind, _, length = name.partition(":")
    if kind in DELAYS:
        try:
            if float(length) > 0:
                return Subject(model=name, engine="none")
        except ValueError:
            pass
        raise ValueError(f"--model is {name!r}, expected {kind}:MS with milliseconds above 0")
    if name not in CONFIGURATIONS:
        raise ValueError(f"unknown --model {name!r}, known are: {', '.join(CONFIGURATIONS)}; {kind}s as delay:5")
    return Subject(model=name, engine=args.engine, converted=args.kept, table_bytes=args.table_mib << 20)


def _exported(folder: Path, args: argparse.Namespace) -> Subject:
    from serving.export_folder import open_export

    package = open_export(folder).content["model"]["package"]
    return Subject(model=package, engine=args.engine, export=folder)


@dataclass(frozen=True, kw_only=True)
class Engines:
    """A target that runs, and how many work in it."""

    target: Target
    workers: int
    settle: Callable[[], None]
    """Wait until nothing is under way."""


@contextmanager
def running(subject: Subject, args: argparse.Namespace, kind: str = "pool") -> Iterator[Engines]:
    """The engines of a subject, or the connections to a server that has it."""
    if kind == "pool":
        engines = args.engines or count_cores() // args.cores or 1
        made: Any = EnginePool(
            subject, engines=engines, cores=args.cores, largest=args.largest, queue_limit=args.queue_limit
        )
    elif kind == "in-process":
        made, engines = InProcess(subject, threads=args.cores, largest=args.largest), 1
    else:
        if subject.export is None:
            raise ValueError(f"--target {kind} needs --export, whose test users are asked for")
        url, engines = args.url or f"127.0.0.1:{PORTS[kind]}", 8
        made = Triton(url, args.name, subject.export, protocol=kind.removeprefix("triton-"), timeout=args.timeout)
    with made:
        yield Engines(target=made, workers=engines, settle=made.settle)


def count_cores() -> int:
    """Of this process."""
    import os

    return len(os.sched_getaffinity(0))


def drawn_sizes(args: argparse.Namespace, *what: int) -> sizes.Sizes:
    """As --sizes says, others for every `what`."""
    return sizes.parse(args.sizes, args.largest, np.random.default_rng([args.seed, 1, *what]))
