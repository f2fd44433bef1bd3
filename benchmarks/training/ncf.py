"""Training speed of NCF as samples/s, and as a share of what this machine's matrix products and memory allow.

Each setting runs in a process of its own, on a synthetic matrix of the wanted size; windows of the machine's own rates
and of training steps alternate. The limit of a sample is the larger of its operations over the GEMM rate and its bytes
over the memory rate; bytes are what no program avoids: rows read, their gradients summed, and the optimiser's pass.
"""

from __future__ import annotations

import argparse
import itertools
import json
from typing import Any

from benchmarks.measure import announce, ratios, result_of
from benchmarks.results import tables
from benchmarks.results.records import record
from benchmarks.training.rates import gemm_rate, memory_rate
from benchmarks.training.shapes import SHAPES, ncf_least_bytes, ncf_operations

WINDOWS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shape", nargs="+", default=list(SHAPES), help=f"of: {', '.join(SHAPES)}")
    parser.add_argument("--batch-size", type=int, nargs="+", help="samples (default: 65536)")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--gradients", default="auto", help="auto, dense or rows (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of a window (default: %(default)s)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)


def measure_one(name: str, batch: int, precision_name: str, gradients: str, seconds: float) -> dict[str, Any]:
    """Windows of the machine's rates and of training steps, in turn."""
    from benchmarks.training import steps
    from recsys_core import devices
    from recsys_core.world import World
    from recsys_core.training import precision

    world, shape = World(), SHAPES[name]
    devices.configure(world)
    numbers = precision.resolve(precision_name, False, world)
    work = steps.ncf(name, batch, numbers, world, gradients=gradients)
    work.step.run(work.batches, 2)
    peak = steps.peak_bytes(world) / 2**30  # now, before the vectors of `memory_rate`
    rates, limits, gemms, memories = [], [], [], []
    for _ in range(WINDOWS):
        gemms.append(gemm_rate(batch, shape.tower[1], shape.tower[2], numbers.compute, seconds / 4))
        memories.append(memory_rate(seconds / 4))
        limits.append(1 / max(ncf_operations(shape, batch) / gemms[-1], ncf_least_bytes(shape, batch) / memories[-1]))
        rates.append(work.rate(seconds))
    return {
        "shape": name,
        "batch_size": batch,
        "precision": precision_name,
        "peak_gib": peak,
        "tables_by_rows": work.by_rows,
        "samples_per_second": rates,
        "gemm_gflops": [g / 1e9 for g in gemms],
        "memory_gb_per_second": [m / 1e9 for m in memories],
        "limit_samples_per_second": limits,
        "share_of_limit": ratios(rates, limits),
    }


def main(args: argparse.Namespace) -> int:
    if args.one:
        words = (args.shape[0], args.batch_size[0], args.precision[0], args.gradients, args.seconds)
        print("RESULT " + json.dumps(measure_one(*words)))
        return 0
    if unknown := [s for s in args.shape if s not in SHAPES]:
        raise ValueError(f"unknown --shape {unknown[0]!r}, known are: {', '.join(SHAPES)}")
    rows = []
    for name, kind in itertools.product(args.shape, args.precision):
        for batch in args.batch_size or [SHAPES[name].batch]:
            announce(f"{name}, batch {batch}, {kind}")
            line = ["-m", "benchmarks", "ncf", "--shape", name, "--batch-size", str(batch), "--precision", kind]
            line += ["--gradients", args.gradients, "--seconds", str(args.seconds), "--one"]
            rows.append(result_of(line))
            record(args.results, "ncf", rows[-1])
    announce("")
    print(tables.text("ncf", rows))
    return 0
