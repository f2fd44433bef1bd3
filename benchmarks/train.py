"""Training speed of VAE-CF in users/s, and as a share of the limit that this machine sets.

Each setting runs in its own process. Windows of the matrix product of the output layer's shape, of a memory pass and of
training steps on the real pipeline alternate. The limit of a user is the larger of its operations over the rate of
matrix products and its bytes over the rate of memory; bytes are those that no program avoids: the optimiser's pass over
every parameter.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

from benchmarks.roofline import gemm_rate, memory_rate, roofline
from benchmarks.shapes import HIDDEN, vae_least_bytes, vae_operations
from benchmarks.tables import TABLES
from recsys_core.measuring.processes import print_result, result_of, show_progress
from recsys_core.measuring.records import record
from recsys_core.measuring.rounds import fields, in_rounds

WINDOWS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, help="prepared data set, as synthetic --like ml-20m-prepared"
    )
    parser.add_argument("--batch-size", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a window (default: %(default)s)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)


def measure_one(data: Path, batch: int, name: str, seconds: float) -> dict[str, Any]:
    """One record: windows of the machine's rates and of training steps, in turn."""
    from benchmarks import steps
    from recsys_core import devices
    from recsys_core.training import precision
    from recsys_core.world import World

    world = World()
    devices.configure(world)
    number_format = precision.resolve(name, world)
    work = steps.vae(data, batch, number_format, world)
    warmed = work.warmed_up(seconds / 8)
    peak = steps.peak_bytes(world) / 2**30  # now, before the vectors of `memory_rate`
    sides = {
        "gemm": lambda: gemm_rate(batch, HIDDEN, work.n_items, number_format.compute, seconds / 4),
        "memory": lambda: memory_rate(seconds / 4),
        "users": lambda: work.rate(seconds),
    }
    rounds = in_rounds(sides, WINDOWS)
    operations, least_bytes = vae_operations(work.n_items), vae_least_bytes(work.n_items, batch)
    return {
        "n_items": work.n_items,
        "batch_size": batch,
        "precision": name,
        "peak_gib": peak,
        **roofline("users", operations, least_bytes, *rounds.values.values()),
        **fields(rounds, [warmed]),
    }


def main(args: argparse.Namespace) -> int:
    if args.one:
        print_result(measure_one(args.data, args.batch_size[0], args.precision[0], args.seconds))
        return 0
    rows = []
    for batch, name in itertools.product(args.batch_size, args.precision):
        show_progress(f"batch {batch}, {name}")
        words = ["-m", "benchmarks", "train", "--data", str(args.data), "--batch-size", str(batch)]
        words += ["--precision", name, "--seconds", str(args.seconds), "--one"]
        rows.append(result_of(words))
        record(args.results, "train", rows[-1])
    show_progress("")
    print(TABLES["train"].as_text(rows))
    return 0
