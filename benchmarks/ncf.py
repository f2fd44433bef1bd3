"""Training speed of NCF in samples/s, and as a share of the limit that this machine sets.

Each setting runs in its own process, on a synthetic matrix of the shape's size. Windows of a matrix product, of a
memory pass and of training steps alternate. The limit of a sample is the larger of its operations over the rate of
matrix products and its bytes over the rate of memory; bytes are those that no program avoids: rows read, their
gradients summed, and the optimiser's pass over every parameter.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

from benchmarks.roofline import gemm_rate, memory_rate, roofline
from benchmarks.shapes import SHAPES, ncf_least_bytes, ncf_operations
from benchmarks.tables import TABLES
from recsys_core.measuring.processes import print_result, result_of, show_progress
from recsys_core.measuring.records import record
from recsys_core.measuring.rounds import fields, in_rounds

WINDOWS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shape", nargs="+", default=list(SHAPES), help=f"of: {', '.join(SHAPES)}")
    parser.add_argument("--batch-size", type=int, nargs="+", help="samples (default: 65536)")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--gradients", default="auto", help="auto, dense or rows (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of a window (default: %(default)s)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)


def measure_one(name: str, batch: int, precision_name: str, gradients: str, seconds: float) -> dict[str, Any]:
    """One record: windows of the machine's rates and of training steps, in turn."""
    from benchmarks import steps
    from recsys_core import devices
    from recsys_core.training import precision
    from recsys_core.world import World

    world, shape = World(), SHAPES[name]
    devices.configure(world)
    number_format = precision.resolve(precision_name, world)
    work = steps.ncf(name, batch, number_format, world, gradients=gradients)
    warmed = work.warmed_up(seconds / 8)
    peak = steps.peak_bytes(world) / 2**30  # now, before the vectors of `memory_rate`
    sides = {
        "gemm": lambda: gemm_rate(batch, shape.tower[1], shape.tower[2], number_format.compute, seconds / 4),
        "memory": lambda: memory_rate(seconds / 4),
        "samples": lambda: work.rate(seconds),
    }
    rounds = in_rounds(sides, WINDOWS)
    operations, least_bytes = ncf_operations(shape, batch), ncf_least_bytes(shape, batch)
    return {
        "shape": name,
        "batch_size": batch,
        "precision": precision_name,
        "peak_gib": peak,
        "sparse_tables": work.sparse_tables,
        **roofline("samples", operations, least_bytes, *rounds.values.values()),
        **fields(rounds, [warmed]),
    }


def main(args: argparse.Namespace) -> int:
    if args.one:
        words = (args.shape[0], args.batch_size[0], args.precision[0], args.gradients, args.seconds)
        print_result(measure_one(*words))
        return 0
    if unknown := [s for s in args.shape if s not in SHAPES]:
        raise ValueError(f"unknown --shape {unknown[0]!r}, known are: {', '.join(SHAPES)}")
    rows = []
    for name, kind in itertools.product(args.shape, args.precision):
        for batch in args.batch_size or [SHAPES[name].batch]:
            show_progress(f"{name}, batch {batch}, {kind}")
            line = ["-m", "benchmarks", "ncf", "--shape", name, "--batch-size", str(batch), "--precision", kind]
            line += ["--gradients", args.gradients, "--seconds", str(args.seconds), "--one"]
            rows.append(result_of(line))
            record(args.results, "ncf", rows[-1])
    show_progress("")
    print(TABLES["ncf"].as_text(rows))
    return 0
