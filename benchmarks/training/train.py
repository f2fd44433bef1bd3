"""Training speed of VAE-CF as users/s and as a share of what this machine's matrix product allows.

Each setting runs in a process of its own: first the matrix product of the output layer's shape, then training steps on
the real pipeline, in turn, so that both meet the same machine.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

from benchmarks.measure import announce, ratios, result_of
from benchmarks.results import tables
from benchmarks.results.records import record
from benchmarks.training.rates import gemm_rate, memory_rate
from benchmarks.training.shapes import HIDDEN, vae_operations

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
    """Windows of matrix products and of training steps, in turn."""
    from benchmarks.training import steps
    from recsys_core import devices
    from recsys_core.world import World
    from recsys_core.training import precision

    world = World()
    devices.configure(world)
    numbers = precision.resolve(name, False, world)
    work = steps.vae(data, batch, numbers, world)
    work.step.run(work.batches, 2)
    peak = steps.peak_bytes(world) / 2**30  # now, before the vectors of `memory_rate`
    gemm, memory, users = [], [], []
    for _ in range(WINDOWS):
        gemm.append(gemm_rate(batch, HIDDEN, work.n_items, numbers.compute, seconds / 4))
        memory.append(memory_rate(seconds / 4))
        users.append(work.rate(seconds))
    limits = [g / vae_operations(work.n_items) for g in gemm]
    return {
        "n_items": work.n_items,
        "batch_size": batch,
        "precision": name,
        "peak_gib": peak,
        "users_per_second": users,
        "gemm_gflops": [g / 1e9 for g in gemm],
        "memory_gb_per_second": [m / 1e9 for m in memory],
        "limit_users_per_second": limits,
        "share_of_limit": ratios(users, limits),
    }


def main(args: argparse.Namespace) -> int:
    if args.one:
        print("RESULT " + json.dumps(measure_one(args.data, args.batch_size[0], args.precision[0], args.seconds)))
        return 0
    rows = []
    for batch, name in itertools.product(args.batch_size, args.precision):
        announce(f"batch {batch}, {name}")
        words = ["-m", "benchmarks", "train", "--data", str(args.data), "--batch-size", str(batch)]
        words += ["--precision", name, "--seconds", str(args.seconds), "--one"]
        rows.append(result_of(words))
        record(args.results, "train", rows[-1])
    announce("")
    print(tables.text("train", rows))
    return 0
