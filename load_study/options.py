"""Flags that the commands share: the subjects to measure, and the engines and query sizes of a load."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from load_study.subjects import DELAYS, ONNX, Subject
from load_study.table_memory import choose_table_mib, table_mib_of
from load_study.traffic import sizes
from load_study.zoo import ids
from load_study.zoo.configurations import CONFIGURATIONS

TARGETS = ("pool", "in-process", "triton-http", "triton-grpc")
COUNTS = ("cores", "largest", "repeats", "rounds", "most", "splits", "batches")
"""Flags that take whole numbers from 1."""


def add_subject_flags(parser: argparse.ArgumentParser, *, several: bool = False, exports: bool = True) -> None:
    """Flags that choose the subject.

    Args:
        several: the command takes several subjects.
        exports: the command takes exports as well as models of the zoo.
    """
    add, known = parser.add_argument, f"{', '.join(CONFIGURATIONS)}; {DELAYS[0]}:MS; {DELAYS[1]}:MS"
    if several:
        add("--model", nargs="+", default=[], help=f"all, or of the zoo: {known}")
    else:
        add("--model", help=f"of the zoo, or a known delay: {known}")
    if exports and several:
        add("--export", type=Path, nargs="+", default=[], help="trained models: the folders of runs")
    elif exports:
        add("--export", type=Path, help="a trained model: the folder of a run")
    if exports:
        add("--data", type=Path, help="the data set of the run of --export, if it was moved")
    add("--engine", default=ONNX, help="tensorflow, tensorflow-xla, or a conversion (default: %(default)s)")
    add(
        "--table-mib",
        type=table_mib_of,
        default=256,
        help="memory of the tables of a zoo model, or auto: a share of what is free (default: %(default)s)",
    )
    add(
        "--ids",
        type=ids_of,
        default=ids_of("zipf"),
        help=f"of the rows of a zoo model: {', '.join(ids.NAMES)} (default: %(default)s)",
    )
    add("--kept", type=Path, default=Path("runs/zoo"), help="folder of converted zoo models (default: %(default)s)")


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that choose the engines or the server, and the sizes of queries."""
    add = parser.add_argument
    add("--target", choices=TARGETS, default="pool", help="what answers the queries (default: %(default)s)")
    add("--url", help="host:port of the server (default: 127.0.0.1:8000, gRPC 8001)")
    add("--name", default="recommender", help="of the model there (default: %(default)s)")
    add("--timeout", type=float, default=10.0, help="seconds in which an answer must come (default: %(default)s)")
    add("--engines", type=int, default=0, help="processes (default: one a core; of 4 cores or more, one stays free)")
    add("--cores", type=int, default=1, help="of each engine (default: %(default)s)")
    add("--sizes", default="lognormal:5.1,0.2", help=f"of: {', '.join(sizes.NAMES)} (default: %(default)s)")
    add("--largest", type=int, default=1024, help="size of a query (default: %(default)s)")
    add("--queue-limit", type=int, help="requests that may wait; more are refused (default: any number)")
    add("--seed", type=int, default=0, help="of arrivals and sizes (default: %(default)s)")


def ids_of(text: str) -> str:
    """The value of --ids with its exponent.

    Raises:
        argparse.ArgumentError: there is no such distribution.
    """
    try:
        exponent = ids.exponent_of(text)
    except ValueError as error:
        raise argparse.ArgumentError(None, str(error)) from None
    return f"zipf:{exponent:g}" if exponent else "uniform"


def chosen_subjects(args: argparse.Namespace) -> list[Subject]:
    """The subjects that the flags name.

    Raises:
        ValueError: no subject, an unknown model, or a number below 1 where at least 1 is needed.
    """
    for name in COUNTS:
        for value in np.atleast_1d(getattr(args, name, 1)):
            if value < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {value}, expected a whole number from 1")
    names, exports = _as_list(args.model), _as_list(getattr(args, "export", None))
    names = list(CONFIGURATIONS) if names == ["all"] else names
    if not names and not exports:
        raise ValueError("no subject: give --model NAME" + (" or --export RUN_DIR/export" if "export" in args else ""))
    return [*(_subject_by_name(name, args) for name in names), *(_subject_of_export(path, args) for path in exports)]


def flags_of(subject: Subject, args: argparse.Namespace) -> list[str]:
    """Flags that choose the same subject in another process."""
    source = ["--export", str(subject.export)] if subject.export else ["--model", subject.model]
    source += ["--data", str(subject.data)] if subject.data else []
    of_zoo = ["--table-mib", str(subject.table_bytes >> 20), "--ids", args.ids, "--kept", str(args.kept)]
    return [*source, "--engine", args.engine, *of_zoo]


def drawn_sizes(args: argparse.Namespace, *key: int) -> sizes.Sizes:
    """Sizes as --sizes says; another key draws other sizes."""
    return sizes.parse(args.sizes, args.largest, np.random.default_rng([args.seed, 1, *key]))


def _as_list(value: list | str | Path | None) -> list:
    """The values of a flag that takes one, several or no value."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _subject_by_name(name: str, args: argparse.Namespace) -> Subject:
    kind, _, length = name.partition(":")
    if kind in DELAYS:
        try:
            if float(length) > 0:
                return Subject(model=name, engine="none")
        except ValueError:
            pass
        raise ValueError(f"--model is {name!r}, expected {kind}:MS with milliseconds above 0")
    if name not in CONFIGURATIONS:
        raise ValueError(f"unknown --model {name!r}, known are: {', '.join(CONFIGURATIONS)}; delays as delay:5")
    table_bytes = choose_table_mib(args) << 20
    return Subject(model=name, engine=args.engine, converted=args.kept, table_bytes=table_bytes, ids=args.ids)


def _subject_of_export(folder: Path, args: argparse.Namespace) -> Subject:
    from serving.export_folder import open_export

    export = open_export(folder, args.data)
    package = export.content["model"]["package"]
    return Subject(model=package, engine=args.engine, export=export.folder, data=args.data)
